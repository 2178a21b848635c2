"""Single segments without a store: built, changed at will, written and opened."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retention.encoding import encode
from retention.journal.adopt import AdoptedFile
from retention.journal.frame import first_hash, next_hash
from retention.leaves import as_hashes
from retention.segment.build import Built, build
from retention.segment.layout import SECTIONS, Directory, SealedJournal, pack
from retention.segment.manifest import JournalRange, Manifest, associated_data
from retention.segment.reader import Segment
from retention.segment.write import write_segment
from retention.times import iso
from tests.support.disk import HOUR, NOON, NOTES, SECOND, Note

KEY = bytes(range(100, 132))
BLINDING = bytes(range(32))

Sections = dict[str, bytes]
Change = Callable[[Sections], None]


def beta_of(subject: bytes) -> bytes:
    """What stands for the VRF output here."""
    return hashlib.sha512(subject).digest()


def frame(file: str, first: int, rows: Sequence[tuple[int, str]], ingested: int = NOON) -> pa.RecordBatch:
    """A frame of a journal file (``writer.number``) from row number *first* on: (time, subject) each."""
    return NOTES.batch(
        Note(timestamp=time, ingested=ingested, event_id=f"{file}.{first + at}", text=text, number=first + at)
        for at, (time, text) in enumerate(rows)
    )


def adopted(
    *frames: Sequence[tuple[int, str]], writer: str = "pen", number: int = 1, void: tuple[bytes, ...] = ()
) -> AdoptedFile:
    """A journal file of *frames*, as the sealer takes it over."""
    batches: list[pa.RecordBatch] = []
    start = first_hash(NOTES.name, writer, number, bytes(32))
    chain = [start]
    for at, rows in enumerate(frames):
        done = sum(one.num_rows for one in batches)
        batches.append(frame(f"{writer}.{number}", done, rows, NOON + at * SECOND))
        lines = "".join(encode(NOTES, batches[-1]).to_pylist()).encode()
        chain.append(next_hash(chain[-1], BLINDING, at + 1, lines))
    return AdoptedFile(
        writer=writer,
        number=number,
        day="2026-03-01",
        after=bytes(32),
        start=start,
        blinding=BLINDING,
        rows=np.array([one.num_rows for one in batches], np.int64),
        chain=as_hashes(chain[1:]),
        batches=tuple(batches),
        void=void,
    )


def sections_of(built: Built) -> tuple[Sections, tuple[SealedJournal, ...]]:
    """The sections of a built segment by name, and what its directory says of the journals."""
    pieces = [bytes(one) for one in built.pieces]
    directory = msgspec.json.decode(pieces[len(SECTIONS)], type=Directory)
    return dict(zip(SECTIONS, pieces, strict=False)), directory.journals


def manifest_of(built: Built, files: Sequence[AdoptedFile], **changes: Any) -> Manifest:
    """The manifest of a built segment; *changes* are members that say something else."""
    manifest = Manifest(
        format=1,
        dataset=NOTES.name,
        sequence=0,
        kind="live",
        schema=1,
        encoder=1,
        subject_rule=1,
        day="2026-03-01",
        epoch=0,
        from_=iso(NOON),
        until=iso(NOON + HOUR),
        count=built.rows,
        subjects=built.subjects,
        first=iso(built.first),
        last=iso(built.last),
        file_id=built.file_id.hex(),
        root=built.root.hex(),
        plain="0" * 64,
        file="0" * 64,
        size=1,
        journals=tuple(
            JournalRange(
                writer=file.writer,
                first=file.number,
                last=file.number,
                after=file.after.hex(),
                frames=len(file.rows),
                head=file.head.hex(),
            )
            for file in files
        ),
        sealed=iso(NOON + HOUR),
        clock="unconfirmed",
        by="test",
    )
    return msgspec.structs.replace(manifest, **changes)


def segment_of(
    path: Path,
    files: Sequence[AdoptedFile],
    change: Change = lambda _: None,
    journals: Callable[[SealedJournal], SealedJournal] = lambda one: one,
    **manifest: Any,
) -> Segment:
    """The segment of *files*, written and opened; changed before it is encrypted, if that is asked for."""
    built = build(NOTES, files, beta_of)
    sections, said = sections_of(built)
    change(sections)
    pieces = pack(dict(sections), [journals(one) for one in said])
    about = associated_data(NOTES.name, built.file_id)
    size, plain, file = write_segment(path, KEY, about, pieces)
    described = {"size": size, "plain": plain, "file": file} | manifest
    return Segment(path, manifest_of(built, files, **described), NOTES, KEY)


def parquet(table: pa.Table, **options: Any) -> bytes:
    """*table* as a Parquet file."""
    out = pa.BufferOutputStream()
    pq.write_table(table, out, store_schema=False, **options)
    return bytes(out.getvalue())


def rows_in(sections: Sections) -> pa.Table:
    """The table of the section ``rows``."""
    return pq.read_table(pa.BufferReader(sections["rows"])).cast(NOTES.schema)
