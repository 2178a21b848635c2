"""The plaintext's layout: what was packed is found again, and whatever else it could say is refused."""

import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.errors import SegmentError
from retention.leaves import as_hashes
from retention.segment.layout import (
    MAGIC,
    SECTIONS,
    FrameTable,
    SealedJournal,
    array_of,
    counts_array,
    lookup_array,
    pack,
    pack_frames,
    read_directory,
    unpack_frames,
)

JOURNAL = SealedJournal(writer="pen", file=7, frames=2, rows=5, after_hash="0" * 64, void=("1" * 64,))


class Plain:
    """A plaintext in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        """*length* bytes at *offset*."""
        assert 0 <= offset <= offset + length <= self.size, "read outside the file"
        return self.data[offset : offset + length]


def packed(lengths: list[int] | None = None) -> bytes:
    """A plaintext whose sections have *lengths*."""
    many = lengths or [3, 32, 32, 16, 4, 32, 0]
    sections: dict[str, bytes | memoryview] = {
        name: bytes([at]) * length for at, (name, length) in enumerate(zip(SECTIONS, many, strict=True))
    }
    return b"".join(pack(sections, [JOURNAL]))


def with_directory(directory: bytes, sections: bytes = bytes(119)) -> bytes:
    """A plaintext with that directory."""
    return sections + directory + struct.pack(">I", len(directory)) + MAGIC


def said(**changes: Any) -> bytes:
    """The directory of ``packed()``, with other members."""
    data = packed()
    start = data.index(b'{"format"')
    return json.dumps({**json.loads(data[start:-12]), **changes}).encode()


@given(lengths=st.lists(st.integers(0, 90), min_size=7, max_size=7))
def test_what_was_packed_is_found(lengths: list[int]) -> None:
    """Sections of any lengths stand where the directory says, and the journals are as they were given."""
    data = packed(lengths)

    directory = read_directory(Plain(data), "notes/00000000")

    found = {name: data[offset:][:length] for name, (offset, length) in directory.sections.items()}
    assert found == {name: bytes([at]) * lengths[at] for at, name in enumerate(SECTIONS)}
    assert directory.journals == (JOURNAL,)


def test_the_bytes_are_those_of_the_format() -> None:
    """Sections in their order, a compact directory, its length, the magic: nothing between them."""
    data = packed()

    directory = data[119:-12]
    assert json.loads(directory)["sections"]["lookup"] == [67, 16]
    assert msgspec.json.format(directory, indent=-1) == directory
    assert data[-12:] == struct.pack(">I", len(directory)) + b"APPLOGS1"


@pytest.mark.parametrize("length", range(160))
def test_a_cut_plaintext_is_refused(length: int) -> None:
    """However much of it is there: without its end it is not read, nor anything outside it."""
    with pytest.raises(SegmentError, match="notes/00000000"):
        read_directory(Plain(packed()[:length]), "notes/00000000")


SHIFTED = {name: [0, 0] for name in SECTIONS}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes, expected a directory"),
        (packed()[:-1] + b"2", "its end is not APPLOGS1"),
        (bytes(12) + struct.pack(">I", 13) + MAGIC, "a directory's length"),
        (struct.pack(">I", 2**32 - 1) + MAGIC, "a directory's length"),
        (with_directory(b""), "its directory: "),
        (with_directory(b"{}"), "its directory: "),
        (with_directory(b"[1]"), "its directory: "),
        (with_directory(said() + b"}"), "its directory: "),
        (with_directory(b"\xff" + said()), "its directory: "),
        (with_directory(said(more=1)), "unknown field"),
        (with_directory(said(format="1")), "its directory: "),
        (with_directory(said(sections={name: [0] for name in SECTIONS})), "its directory: "),
        (with_directory(said(format=2)), "format 2; this version reads 1, please update"),
        (with_directory(said(), bytes(120)), "sections end at 119, the directory begins at 120"),
        (with_directory(said(), bytes(118)), "sections end at 119, the directory begins at 118"),
        (with_directory(said(sections={})), "section rows is not at byte 0"),
        (with_directory(said(sections=SHIFTED | {"rows": [0, 119], "tags": [3, 0]})), "section secret"),
        (with_directory(said(sections=SHIFTED | {"rows": [-1, 119]})), "section rows"),
        (with_directory(said(sections=SHIFTED | {"rows": [0, -1]})), "section rows"),
    ],
)
def test_another_directory_is_refused(data: bytes, message: str) -> None:
    """What is no directory, of another version, with gaps, overlaps or lengths below zero is refused."""
    with pytest.raises(SegmentError, match=message):
        read_directory(Plain(data), "notes/00000000")


def test_sections_nobody_knows_are_refused() -> None:
    """A section beyond those of the format is refused even without a byte in it."""
    sections = json.loads(said())["sections"] | {"more": [119, 0]}

    with pytest.raises(SegmentError, match="sections end"):
        read_directory(Plain(with_directory(said(sections=sections))), "notes/00000000")


def table(rows: list[int], blinding: int = 7) -> FrameTable:
    """A frame table with made-up hashes."""
    chain = as_hashes([bytes([at]) * 32 for at in range(len(rows))])
    return FrameTable(bytes([blinding]) * 32, np.array(rows, np.int64), chain)


def journals(*rows: list[int]) -> list[SealedJournal]:
    """What the directory says of journals with such frames."""
    return [msgspec.structs.replace(JOURNAL, frames=len(one), rows=sum(one)) for one in rows]


@given(rows=st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=9), max_size=4))
def test_frame_tables_are_found_again(rows: list[list[int]]) -> None:
    """Blindings, rows and hashes of every file, files without frames included."""
    section = pack_frames([table(one, at) for at, one in enumerate(rows)])

    found = unpack_frames(section, journals(*rows), "notes/00000000")

    assert [one.rows.tolist() for one in found] == rows
    assert [one.blinding for one in found] == [bytes([at]) * 32 for at in range(len(rows))]
    assert [one.chain.tobytes() for one in found] == [table(one).chain.tobytes() for one in rows]


@pytest.mark.parametrize(
    ("changes", "cut"),
    [({}, 1), ({}, 36), ({"frames": 1}, 0), ({"frames": 3}, 0), ({"rows": 4}, 0), ({"rows": 6}, 0)],
)
def test_frame_tables_that_do_not_fit_are_refused(changes: dict[str, int], cut: int) -> None:
    """A section of another length, or rows that do not add up, is refused."""
    section = pack_frames([table([2, 3])])
    journal = msgspec.structs.replace(JOURNAL, **changes)

    with pytest.raises(SegmentError, match="notes/00000000: frame"):
        unpack_frames(section[: len(section) - cut], [journal], "notes/00000000")


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": -1},
        {"rows": -1},
        {"file": -1},
        {"after_hash": "no hash"},
        {"after_hash": "0" * 62},
        {"void": ("1" * 64, "1" * 66)},
    ],
)
def test_journals_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    """Numbers below zero, which might add up together, and what is no hash: refused with the directory."""
    other = msgspec.structs.replace(JOURNAL, writer="quill", **changes)
    listed = [msgspec.to_builtins(one) for one in (JOURNAL, other)]

    with pytest.raises(SegmentError, match=r"notes/00000000: its journal quill\.-?[0-9]+ cannot be one"):
        read_directory(Plain(with_directory(said(journals=listed))), "notes/00000000")


def test_arrays_of_other_lengths_are_refused() -> None:
    """Sections of fixed-width values hold whole values only."""
    assert array_of(bytes(64), 32, "x").shape == (2, 32)
    assert lookup_array(bytes(48), "x").shape == (3, 16)
    assert counts_array(b"\0\0\1\2\xff\xff\xff\xff", "x").tolist() == [258, 2**32 - 1]

    for read, data in ((lookup_array, bytes(17)), (counts_array, bytes(7))):
        with pytest.raises(SegmentError, match="expected a multiple of"):
            read(data, "x")
