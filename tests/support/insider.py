"""Somebody who holds every key of a store and makes another history of it, as consistently as can be.

Rules:
    1. What is forged here is forged well: digests, trees, chains, the ledger and its checkpoint fit each
       other. What still gives it away, the tests say.
    2. Only the tools differ from the sealer's: the parts that build and sign are the product's own.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retention.dataset import Dataset
from retention.journal.adopt import AdoptedFile
from retention.journal.frame import next_hash
from retention.journal.reader import joined_lines
from retention.keys import DayKey
from retention.leaves import as_hashes
from retention.ledger.state import LedgerState, dataset_heads
from retention.merkle import leaf_hash
from retention.note import Checkpoint, VerifierKey, sign_checkpoint
from retention.segment.build import build
from retention.segment.check import leaves_start
from retention.segment.manifest import Manifest, associated_data
from retention.segment.reader import Segment
from retention.segment.write import write_segment
from retention.times import iso
from tests.support.disk import put
from tests.support.sealed import SealedStore

Change = Callable[[list[AdoptedFile]], list[AdoptedFile]]
"""What an insider does to the journal files of a segment."""


@dataclass
class Insider:
    """Has the keys of *target*."""

    target: SealedStore

    def day_key(self, manifest: Manifest) -> DayKey:
        """The key of the segment's day."""
        assert manifest.day is not None
        return self.target.store.day_keys.open(manifest.dataset, dt.date.fromisoformat(manifest.day))

    def manifest(self, dataset: Dataset, sequence: int) -> Manifest:
        """As it lies there."""
        data = self.target.manifest(dataset, sequence).read_bytes()
        return Manifest.parse(data, f"{dataset.name}/{sequence:08d}")

    def files_in(self, dataset: Dataset, sequence: int) -> list[AdoptedFile]:
        """The journal files whose rows are in a segment, as the sealer had them."""
        manifest = self.manifest(dataset, sequence)
        path = self.target.segment(dataset, sequence)
        segment = Segment(path, manifest, dataset, self.day_key(manifest).key)
        try:
            batch = segment.table(dataset.schema.names).combine_chunks().to_batches()[0]
            ids = batch.column("event.id")
            return [
                _file(segment, journal, table, batch, ids)
                for journal, table in zip(segment.directory.journals, segment.frames, strict=True)
            ]
        finally:
            segment.close()

    def replace_rows(self, dataset: Dataset, sequence: int, change: Change) -> Manifest:
        """Build the segment anew from changed files; the manifest that fits it, which is not written."""
        manifest = self.manifest(dataset, sequence)
        key = self.day_key(manifest)
        path = self.target.segment(dataset, sequence)
        built = build(dataset, change(self.files_in(dataset, sequence)), cache(key.vrf.output))
        temporary = path.with_name("forged")
        associated = associated_data(dataset.name, built.file_id)
        size, plain, file = write_segment(temporary, key.key, associated, built.pieces)
        temporary.rename(path)
        return msgspec.structs.replace(
            manifest,
            count=built.rows,
            subjects=built.subjects,
            first=iso(built.first),
            last=iso(built.last),
            file_id=built.file_id.hex(),
            root=built.root.hex(),
            plain=plain,
            file=file,
            size=size,
        )

    def put_manifest(self, dataset: Dataset, manifest: Manifest) -> None:
        """Write *manifest* in its place."""
        put(self.target.manifest(dataset, manifest.sequence), manifest.encoded())

    def entries(self) -> list[dict[str, Any]]:
        """The ledger's entries."""
        return [json.loads(line) for line in self.target.entries.read_bytes().splitlines()]

    def forge(self, entries: Sequence[dict[str, Any]]) -> bytes:
        """Make a ledger of *entries*, with what follows from the manifests, and sign it; the checkpoint."""
        state = LedgerState()
        lines: list[bytes] = []
        for entry in entries:
            line = json.dumps(self._fitting(entry, state), separators=(",", ":")).encode()
            state.apply(line)
            lines.append(line)
        put(self.target.entries, b"".join(line + b"\n" for line in lines))
        return self.sign(state)

    def _fitting(self, entry: dict[str, Any], state: LedgerState) -> dict[str, Any]:
        """*entry* as it must be behind *state* and with the manifests that lie there."""
        if entry["type"] == "sealed":
            path = self.target.root / "segments" / entry["dataset"] / f"{entry['sequence']:08d}.manifest"
            return {**entry, "manifest": leaf_hash(path.read_bytes()).hex()} if path.exists() else entry
        if entry["type"] == "heads":
            return {**entry, "datasets": dataset_heads(state)}
        return entry

    def sign(self, state: LedgerState, key: VerifierKey | None = None) -> bytes:
        """A checkpoint of *state* by its key, or by *key*, put where the store keeps it."""
        signer = self.target.store.signing_keys.signer(key or state.key)
        checkpoint = Checkpoint(origin=state.key.name, size=state.size, root=state.tree.root())
        signed = sign_checkpoint(checkpoint, [signer])
        put(self.target.checkpoint, signed)
        put(self.target.last_signed, signed)
        return signed

    def state(self) -> LedgerState:
        """Behind the last entry."""
        state = LedgerState()
        for line in self.target.entries.read_bytes().splitlines():
            state.apply(line)
        return state


def rechained(dataset: Dataset, files: Sequence[AdoptedFile]) -> list[AdoptedFile]:
    """*files* with the chain hashes that their rows now give."""
    chained = []
    for file in files:
        chain = [file.start]
        for number, batch in enumerate(file.batches, 1):
            lines = memoryview(joined_lines(dataset, batch))
            chain.append(next_hash(chain[-1], file.blinding, number, lines))
        rows = np.array([batch.num_rows for batch in file.batches], np.int64)
        chained.append(dataclasses.replace(file, chain=as_hashes(chain[1:]), rows=rows))
    return chained


def with_value(batch: pa.RecordBatch, column: str, row: int, value: object) -> pa.RecordBatch:
    """*batch* with one value exchanged."""
    values = batch.column(column).to_pylist()
    values[row] = value
    at = batch.schema.get_field_index(column)
    return batch.set_column(at, batch.schema.field(at), pa.array(values, batch.schema.field(at).type))


def resealed(manifest: Manifest, path_bytes: bytes) -> Manifest:
    """*manifest* with size and digest of an exchanged file."""
    digest = hashlib.sha256(path_bytes).hexdigest()
    return msgspec.structs.replace(manifest, file=digest, size=len(path_bytes))


def _file(segment: Segment, journal: Any, table: Any, batch: pa.RecordBatch, ids: pa.Array) -> AdoptedFile:
    names = pa.array([f"{journal.writer}.{journal.file}.{row}" for row in range(journal.rows)], pa.string())
    rows = batch.take(pc.index_in(names, value_set=ids))
    ends = np.cumsum(table.rows).tolist()
    starts = [0, *ends[:-1]]
    return AdoptedFile(
        writer=journal.writer,
        number=journal.file,
        day=segment.manifest.day or "",
        after=bytes.fromhex(journal.after_hash),
        start=leaves_start(segment.dataset, journal),
        blinding=table.blinding,
        rows=table.rows,
        chain=table.chain,
        batches=tuple(rows.slice(at, end - at) for at, end in zip(starts, ends, strict=True)),
        void=tuple(bytes.fromhex(one) for one in journal.void),
    )
