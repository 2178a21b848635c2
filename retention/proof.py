"""Row proofs: from a record's line to the segment's root, the dataset's tree and a signed checkpoint.

Rules (FORMAT.md 9):
    1. A proof shows one row: its neighbours appear as hashes only, without time, count or name.
    2. Making one needs the opened segment; checking one needs the line, the proof and the ledger's key.
    3. Checking raises; it never returns False.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from retention import leaves
from retention.encoding import encode
from retention.errors import LedgerError, ProofError, SegmentAlteredError, SegmentError
from retention.ledger.entries import HeadsEntry, decode_entry
from retention.ledger.view import LedgerView
from retention.merkle import inclusion_proof, leaf_hash, root_from_inclusion, verify_inclusion
from retention.note import Checkpoint, VerifierKey, open_checkpoint
from retention.segment.build import ROW_GROUP_ROWS
from retention.segment.manifest import Manifest
from retention.segment.reader import Segment
from retention.times import iso

FORMAT = 1
HASH = leaves.HASH_BYTES


class RowProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The proof of one row; bytes are base64 in JSON."""

    format: int = FORMAT
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


class _Block(NamedTuple):
    """Up to 32 rows of a subject, opened."""

    start: int
    lines: list[str]
    times: list[int]
    leaves: list[bytes]
    nodes: list[bytes]
    """Roots of all blocks of the subject."""


class Prover:
    """Makes proofs of the rows of one opened segment. For one thread."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._held: tuple[range, pa.RecordBatch] | None = None
        blocks = leaves.blocks_in(segment.counts)
        self._block_ends = np.cumsum(blocks)
        self._row_ends = np.cumsum(segment.counts)
        roots = leaves.roots_over(segment.blocks, blocks)
        self._subjects = [one.tobytes() for one in leaves.subject_leaves(segment.tags, segment.counts, roots)]

    def prove(self, rows: Iterable[int]) -> list[tuple[str, RowProof]]:
        """Line and proof of each of *rows*, in their order; each block of rows is read once.

        Raises:
            ProofError: there is no such row.
            SegmentAlteredError: the rows around it are not those that were sealed.
        """
        wanted = list(rows)
        opened: dict[int, _Block] = {}
        proofs = []
        for row in wanted:
            if not 0 <= row < self._segment.manifest.count:
                last = self._segment.manifest.count - 1
                raise ProofError(f"segment {self._segment.name} has rows 0 to {last}, not {row}")
            subject = int(np.searchsorted(self._row_ends, row, side="right"))
            first = int(self._row_ends[subject]) - int(self._segment.counts[subject])
            start = first + (row - first) // leaves.BLOCK_ROWS * leaves.BLOCK_ROWS
            if start not in opened:
                opened[start] = self._open_block(subject, first, start)
            proofs.append(self._prove(row, subject, first, opened[start]))
        return proofs

    def _open_block(self, subject: int, first: int, start: int) -> "_Block":
        segment = self._segment
        stop = min(start + leaves.BLOCK_ROWS, first + int(segment.counts[subject]))
        batch = self._rows(start, stop)
        lines = encode(segment.dataset, batch)
        times = np.asarray(batch.column("@timestamp").cast("int64"))
        hashes = leaves.row_leaves(times, leaves.bodies(segment.secret, lines, start))
        own = [one.tobytes() for one in hashes]
        nodes = self._blocks_of(subject)
        self._check_block(start, stop, own, nodes[(start - first) // leaves.BLOCK_ROWS])
        return _Block(start, lines.to_pylist(), times.tolist(), own, nodes)

    def _rows(self, start: int, stop: int) -> pa.RecordBatch:
        """Rows of one block; the row groups around them stay in memory for the next one."""
        held = self._held
        if held is None or not held[0].start <= start <= stop <= held[0].stop:
            span = range(
                start // ROW_GROUP_ROWS * ROW_GROUP_ROWS,
                min(-(-stop // ROW_GROUP_ROWS) * ROW_GROUP_ROWS, self._segment.manifest.count),
            )
            table = self._segment.table(self._segment.dataset.schema.names, span)
            held = self._held = (span, table.combine_chunks().to_batches()[0])
        return held[1].slice(start - held[0].start, stop - start)

    def _prove(self, row: int, subject: int, first: int, block: "_Block") -> tuple[str, RowProof]:
        segment = self._segment
        within = row - block.start
        path = inclusion_proof(block.leaves, within)
        path += inclusion_proof(block.nodes, (block.start - first) // leaves.BLOCK_ROWS)
        above = inclusion_proof(self._subjects, subject)
        proof = RowProof(
            segment=(segment.manifest.dataset, segment.manifest.sequence),
            row=row,
            salt=leaves.salts(segment.secret, 1, row).tobytes(),
            time=block.times[within],
            rows=(row - first, int(segment.counts[subject]), b"".join(path)),
            tag=segment.tags[subject].tobytes(),
            subjects=(subject, len(self._subjects), b"".join(above)),
        )
        return block.lines[within].removesuffix("\n"), proof

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
        ProofError: there is no such manifest, or the signed ledger does not cover it yet.
    """
    if not 0 <= sequence < len(manifests):
        raise ProofError(f"there are manifests 0 to {len(manifests) - 1}, not {sequence}")
    manifest = msgspec.json.decode(manifests[sequence], type=Manifest)
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


def check_row(line: str, proof: RowProof) -> bytes:
    """The segment's root that *proof* gives for *line* (without line feed).

    The row's number is a hint; what is proved is that the line is in the segment.

    Raises:
        ProofError: *proof* is malformed, or for another time than the line's.
    """
    try:
        return _root_of(line, proof)
    except (ValueError, OverflowError) as error:
        raise ProofError(f"the proof cannot be one: {error}") from error


def _root_of(line: str, proof: RowProof) -> bytes:
    if proof.format != FORMAT:
        raise ProofError(f"a row proof of format {proof.format}, expected {FORMAT}; please update")
    if not line.startswith(f'{{"@timestamp":"{iso(proof.time)}"'):
        raise ProofError(f"the proof is for a record of {iso(proof.time)}, the line is not")
    if len(proof.salt) != leaves.SALT_BYTES or len(proof.tag) != HASH:
        raise ProofError("the proof's salt or tag has another length")
    body = hashlib.sha256(b"\x04" + proof.salt + line.encode()).digest()
    index, count, path = proof.rows
    leaf = leaf_hash(proof.time.to_bytes(8, "big") + body)
    root = root_from_inclusion(leaf, index, count, _hashes(path))
    inner = hashlib.sha256(b"\x05" + count.to_bytes(8, "big") + root).digest()
    place, subjects, above = proof.subjects
    return root_from_inclusion(leaf_hash(proof.tag + inner), place, subjects, _hashes(above))


def check_segment_proof(
    proof: RowProof, root: bytes, ledger: LedgerProof, keys: Sequence[VerifierKey]
) -> None:
    """Hold *root*, which ``check_row`` gave, against the checkpoint, which one of *keys* signed.

    Give only the key that was in force (``LedgerState.key_at``), not one that was rotated out.

    Raises:
        ProofError: it does not lead there.
        NoteError: the checkpoint is not signed by one of *keys*.
    """
    try:
        checkpoint, _ = open_checkpoint(ledger.checkpoint.encode(), keys)
        _check_ledger(proof, root, ledger, checkpoint)
    except (LedgerError, SegmentError, ValueError, OverflowError) as error:
        raise ProofError(f"the proof cannot be one: {error}") from error


def _check_ledger(proof: RowProof, root: bytes, ledger: LedgerProof, checkpoint: Checkpoint) -> None:
    dataset, sequence = proof.segment
    encoded, heads_line = ledger.manifest.encode(), ledger.heads.encode()
    last = checkpoint.size - 1
    verify_inclusion(leaf_hash(heads_line), last, checkpoint.size, _hashes(ledger.ledger), checkpoint.root)
    heads = decode_entry(heads_line, last)
    size, path = ledger.dataset
    known = heads.datasets.get(dataset) if isinstance(heads, HeadsEntry) else None
    if known is None or known[0] != size:
        raise ProofError(f"the heads do not have a tree of {size} segments of {dataset}")
    verify_inclusion(leaf_hash(encoded), sequence, size, _hashes(path), bytes.fromhex(known[1]))
    manifest = Manifest.parse(encoded, f"{dataset}/{sequence:08d}")
    if manifest.root != root.hex() or manifest.subjects != proof.subjects[1]:
        raise ProofError(f"the proof leads to another root than that of segment {manifest.name}")


def _hashes(joined: bytes) -> list[bytes]:
    if len(joined) % HASH:
        raise ProofError(f"a path of {len(joined)} bytes, expected a multiple of {HASH}")
    return [joined[at : at + HASH] for at in range(0, len(joined), HASH)]


ProofT = TypeVar("ProofT", RowProof, LedgerProof)


def encoded_proof(proof: RowProof | LedgerProof) -> bytes:
    """*proof* as JSON (FORMAT.md 9): there is one spelling of it."""
    return msgspec.json.encode(proof)


def parse_proof(data: bytes, kind: type[ProofT]) -> ProofT:
    """The proof in *data*.

    Raises:
        ProofError: it is none, or spelled otherwise than ``encoded_proof`` does.
    """
    try:
        proof = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProofError(f"not a proof: {error}") from error
    if encoded_proof(proof) != data:
        raise ProofError("not a proof in its one spelling: compact, members in order, none twice")
    return proof
