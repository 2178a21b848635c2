"""Row proofs: from a record's line to the segment's root, the dataset's tree and a signed checkpoint.

Rules (FORMAT.md 9):
    1. A proof shows one row: its neighbours appear as hashes only, without time, count or name.
    2. Making one needs the opened segment; checking one needs the line, the proof and the ledger's key.
    3. Checking raises; it never returns False.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from retention import leaves
from retention.encoding import encode
from retention.errors import LedgerError, ProofError, SegmentAlteredError
from retention.ledger.entries import HeadsEntry, decode_entry
from retention.ledger.view import LedgerView
from retention.merkle import inclusion_proof, leaf_hash, root_from_inclusion, verify_inclusion
from retention.note import VerifierKey, open_checkpoint
from retention.segment.manifest import Manifest
from retention.segment.reader import Segment
from retention.times import iso

HASH = leaves.HASH_BYTES


class RowProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The proof of one row; bytes are base64 in JSON."""

    format: int = 1
    segment: tuple[str, int]
    """Dataset and sequence."""
    row: int
    salt: bytes
    time: int
    """``@timestamp``, UTC µs."""
    rows: tuple[int, int, bytes]
    """Index, size, and joined hashes of the path, in the subject's tree."""
    tag: bytes
    subjects: tuple[int, int, bytes]
    """The same in the segment's tree."""


class LedgerProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What leads from a segment's root to a signed checkpoint; shared by the rows of a segment."""

    manifest: str
    """Its exact bytes."""
    dataset: tuple[int, bytes]
    """Size of the dataset's tree, and path."""
    heads: str
    """The exact bytes of the entry that ends the checkpoint's ledger."""
    ledger: bytes
    """Path of that entry."""
    checkpoint: str
    """The signed note."""


class Prover:
    """Makes proofs of the rows of one opened segment."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        blocks = leaves.blocks_in(segment.counts)
        self._block_ends = np.cumsum(blocks)
        self._row_ends = np.cumsum(segment.counts)
        roots = leaves.roots_over(segment.blocks, blocks)
        self._subjects = [one.tobytes() for one in leaves.subject_leaves(segment.tags, segment.counts, roots)]

    def prove(self, rows: Iterable[int]) -> list[tuple[str, RowProof]]:
        """Line and proof of each of *rows*.

        Raises:
            ProofError: there is no such row.
            SegmentAlteredError: the rows around it are not those that were sealed.
        """
        return [self._prove(row) for row in rows]

    def _prove(self, row: int) -> tuple[str, RowProof]:
        segment = self._segment
        if not 0 <= row < segment.manifest.count:
            raise ProofError(f"segment {segment.name} has rows 0 to {segment.manifest.count - 1}, not {row}")
        subject = int(np.searchsorted(self._row_ends, row, side="right"))
        count = int(segment.counts[subject])
        first = int(self._row_ends[subject]) - count
        block, within = divmod(row - first, leaves.BLOCK_ROWS)
        start = first + block * leaves.BLOCK_ROWS
        stop = min(start + leaves.BLOCK_ROWS, first + count)
        batch = (
            segment.table(segment.dataset.schema.names, range(start, stop)).combine_chunks().to_batches()[0]
        )
        lines = encode(segment.dataset, batch)
        times = np.asarray(batch.column("@timestamp").cast("int64"))
        hashes = leaves.row_leaves(times, leaves.bodies(segment.secret, lines, start))
        nodes = self._blocks_of(subject)
        own = [one.tobytes() for one in hashes]
        self._check_block(start, stop, own, nodes[block])
        path = inclusion_proof(own, within) + inclusion_proof(nodes, block)
        proof = RowProof(
            segment=(segment.manifest.dataset, segment.manifest.sequence),
            row=row,
            salt=leaves.salts(segment.secret, 1, row).tobytes(),
            time=int(times[within]),
            rows=(row - first, count, b"".join(path)),
            tag=segment.tags[subject].tobytes(),
            subjects=(subject, len(self._subjects), b"".join(inclusion_proof(self._subjects, subject))),
        )
        line: str = lines[within].as_py()
        return line.removesuffix("\n"), proof

    def _blocks_of(self, subject: int) -> list[bytes]:
        end = int(self._block_ends[subject])
        begin = end - int(leaves.blocks_in(self._segment.counts[subject : subject + 1])[0])
        return [one.tobytes() for one in self._segment.blocks[begin:end]]

    def _check_block(self, start: int, stop: int, hashes: list[bytes], sealed: bytes) -> None:
        found = leaves.root_of(leaves.as_hashes(hashes))
        if found != sealed:
            raise SegmentAlteredError(self._segment.name, start, stop - 1, sealed=sealed, found=found)


def prove_segment(view: LedgerView, manifests: Sequence[bytes], sequence: int) -> LedgerProof:
    """From manifest number *sequence* of a dataset, all of whose manifests are given, to the checkpoint.

    Raises:
        ProofError: the signed ledger does not cover it yet.
    """
    manifest = Manifest.parse(manifests[sequence], _name_in(manifests[sequence]))
    size, _ = view.heads.datasets.get(manifest.dataset, (0, ""))
    if sequence >= size or size > len(manifests):
        raise ProofError(f"segment {manifest.name} is behind the newest checkpoint")
    hashes = [leaf_hash(encoded) for encoded in manifests[:size]]
    signed = view.leaves[: view.checkpoint.size]
    return LedgerProof(
        manifest=manifests[sequence].decode(),
        dataset=(size, b"".join(inclusion_proof(hashes, sequence))),
        heads=view.lines[len(signed) - 1].decode(),
        ledger=b"".join(inclusion_proof(signed, len(signed) - 1)),
        checkpoint=view.signed.decode(),
    )


def _name_in(encoded: bytes) -> str:
    found = msgspec.json.decode(encoded, type=Manifest)
    return found.name


def check_row(line: str, proof: RowProof) -> bytes:
    """The segment's root that *proof* gives for *line* (without line feed).

    Raises:
        ProofError: *proof* is malformed, or for another time than the line's.
    """
    if f'{{"@timestamp":"{iso(proof.time)}"' != line[: len('{"@timestamp":""') + 27]:
        raise ProofError(f"the proof is for a record of {iso(proof.time)}, the line is not")
    if len(proof.salt) != leaves.SALT_BYTES or len(proof.tag) != HASH:
        raise ProofError("the proof's salt or tag has another length")
    body = hashlib.sha256(b"\x04" + proof.salt + line.encode()).digest()
    index, count, path = proof.rows
    root = root_from_inclusion(leaf_hash(proof.time.to_bytes(8, "big") + body), index, count, _hashes(path))
    inner = hashlib.sha256(b"\x05" + count.to_bytes(8, "big") + root).digest()
    place, subjects, above = proof.subjects
    return root_from_inclusion(leaf_hash(proof.tag + inner), place, subjects, _hashes(above))


def check_segment_proof(
    proof: RowProof, root: bytes, ledger: LedgerProof, keys: Sequence[VerifierKey]
) -> None:
    """Hold *root*, which ``check_row`` gave, against the checkpoint, which one of *keys* signed.

    Raises:
        ProofError: it does not lead there.
        NoteError: the checkpoint is not signed by one of *keys*.
    """
    checkpoint, _ = open_checkpoint(ledger.checkpoint.encode(), keys)
    dataset, sequence = proof.segment
    encoded, heads_line = ledger.manifest.encode(), ledger.heads.encode()
    manifest = Manifest.parse(encoded, f"{dataset}/{sequence:08d}")
    if manifest.root != root.hex() or manifest.subjects != proof.subjects[1]:
        raise ProofError(f"the proof leads to another root than that of segment {manifest.name}")
    try:
        heads = decode_entry(heads_line, checkpoint.size - 1)
    except LedgerError as error:
        raise ProofError(f"the proof's heads: {error}") from error
    size, path = ledger.dataset
    known = heads.datasets.get(dataset) if isinstance(heads, HeadsEntry) else None
    if known is None or known[0] != size:
        raise ProofError(f"the heads do not have a tree of {size} segments of {dataset}")
    verify_inclusion(leaf_hash(encoded), sequence, size, _hashes(path), bytes.fromhex(known[1]))
    verify_inclusion(
        leaf_hash(heads_line), checkpoint.size - 1, checkpoint.size, _hashes(ledger.ledger), checkpoint.root
    )


def _hashes(joined: bytes) -> list[bytes]:
    if len(joined) % HASH:
        raise ProofError(f"a path of {len(joined)} bytes, expected a multiple of {HASH}")
    return [joined[at : at + HASH] for at in range(0, len(joined), HASH)]


def encoded_proof(proof: RowProof | LedgerProof) -> bytes:
    """*proof* as JSON (FORMAT.md 9)."""
    return msgspec.json.encode(proof)
