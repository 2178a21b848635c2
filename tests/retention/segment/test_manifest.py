"""Manifests: written one way, read only if they do not contradict themselves."""

import json
from typing import Any

import msgspec
import pytest

from retention.errors import SegmentError
from retention.leaves import EMPTY_ROOT
from retention.segment.manifest import JournalRange, Manifest, associated_data
from tests.support.disk import NOON, NOTES
from tests.support.segments import adopted, beta_of, build, manifest_of

FILES = [adopted([(NOON, "a"), (NOON, "b")])]
FULL = manifest_of(build(NOTES, FILES, beta_of), FILES)
EMPTY = msgspec.structs.replace(
    FULL,
    count=0,
    subjects=0,
    root=EMPTY_ROOT.hex(),
    **dict.fromkeys(("day", "first", "last", "file_id", "plain", "file", "size")),
)
NAME = "notes/00000000"
JOURNAL = json.loads(FULL.encoded())["journals"][0]


def changed(**members: Any) -> bytes:
    """FULL with other members."""
    return json.dumps({**json.loads(FULL.encoded()), **members}).encode()


@pytest.mark.parametrize("manifest", [FULL, EMPTY], ids=["rows", "no-rows"])
def test_it_is_read_as_it_was_written(manifest: Manifest) -> None:
    """Written, read and written again, it is the same bytes."""
    assert Manifest.parse(manifest.encoded(), NAME) == manifest
    assert Manifest.parse(manifest.encoded(), NAME).encoded() == manifest.encoded()


def test_members_are_in_order() -> None:
    """The members are those of FORMAT.md 7.8 in its order, compact, and absent ones are left out."""
    full, empty = (list(json.loads(one.encoded())) for one in (FULL, EMPTY))

    assert full == [
        *("format", "dataset", "sequence", "kind", "schema", "encoder", "subject_rule", "day", "epoch"),
        *("from", "until", "count", "subjects", "first", "last", "file_id", "root", "plain", "file"),
        *("bytes", "journals", "sealed", "clock", "by"),
    ]
    absent = {"day", "first", "last", "file_id", "plain", "file", "bytes"}
    assert empty == [name for name in full if name not in absent]
    assert list(json.loads(FULL.encoded())["journals"][0]) == list(JournalRange.__struct_fields__)
    assert msgspec.json.format(FULL.encoded(), indent=-1) == FULL.encoded()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "manifest notes/00000000: "),
        (b"\xff{}", "manifest notes/00000000: "),
        (b"[]", "manifest notes/00000000: "),
        (b"{}", "missing required field"),
        (FULL.encoded() + b"\n{}", "manifest notes/00000000: "),
        (changed(more=1), "unknown field"),
        (changed(count="2"), "Expected `int`"),
        (changed(format=2), "format 2, expected 1; please update"),
        (changed(dataset="other"), "it says that it is other/00000000"),
        (changed(sequence=1), "it says that it is notes/00000001"),
        (changed(count=0), "0 rows do not fit its other members"),
        (changed(count=-1), "-1 rows do not fit its other members"),
        (changed(day=None), "2 rows do not fit its other members"),
        (changed(file=None), "2 rows do not fit its other members"),
        (changed(root="ab"), "a digest is not 64 hexadecimal digits"),
        (changed(root="AB" * 32), "a digest is not 64 hexadecimal digits"),
        (changed(file_id="g" * 64), "a digest is not 64 hexadecimal digits"),
        (changed(plain=" " * 64), "a digest is not 64 hexadecimal digits"),
        (changed(kind="dead"), "kind dead, expected live or import"),
        (EMPTY.encoded().replace(EMPTY_ROOT.hex().encode(), b"0" * 64), "no rows, but a root"),
        (changed(subjects=0), "0 subjects in 2 rows"),
        (changed(subjects=3), "3 subjects in 2 rows"),
        (changed(subjects=-1), "-1 subjects in 2 rows"),
        (changed(until="tomorrow"), "expected a time like .* found tomorrow|Invalid isoformat"),
        (changed(until="2026-03-02T00:00:00Z"), "found 2026-03-02T00:00:00Z"),
        (changed(**{"from": "9999-12-31T23:59:59.999999Z"}), "before it begins"),
        (changed(first="2026-03-01T25:00:00.000000Z"), "manifest notes/00000000: "),
        (changed(last="2020-03-01T00:00:00.000000Z"), "is before its first"),
        (changed(sealed="now"), "manifest notes/00000000: "),
        (changed(day="2026-13-01"), "manifest notes/00000000: "),
        (changed(journals=[JOURNAL | {"head": "zz"}]), "a hash of journal pen is none"),
        (changed(journals=[JOURNAL | {"after": "AB" * 32}]), "a hash of journal pen is none"),
        (changed(journals=[JOURNAL | {"first": 0}]), "files of journal pen are none"),
        (changed(journals=[JOURNAL | {"first": 2}]), "files of journal pen are none"),
        (changed(journals=[JOURNAL | {"frames": -1}]), "files of journal pen are none"),
    ],
)
def test_what_contradicts_itself_is_refused(data: bytes, message: str) -> None:
    """Malformed, newer, misplaced or contradictory: each is refused with an error that names the manifest."""
    with pytest.raises(SegmentError, match=message):
        Manifest.parse(data, NAME)


def test_files_are_bound_to_their_segment() -> None:
    """The associated data of an encrypted file is that of FORMAT.md 7.1."""
    assert associated_data("dns", b"\1" * 32) == b"applog-segment-1\0\3dns" + b"\1" * 32
    assert FULL.name == NAME
