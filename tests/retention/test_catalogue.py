"""Which segments there are, read from the manifests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from retention.catalogue import MANIFEST, SEGMENT, Catalogue, is_name
from retention.errors import SegmentError
from tests.support.disk import put
from tests.support.sealed import AUDIT, MIDNIGHT, SealedStore, first_day


@pytest.fixture
def sealed(tmp_path: Path) -> SealedStore:
    """A day of audit (an import, then live rows) and coverage, sealed."""
    built = SealedStore(tmp_path / "store")
    first_day(built)
    built.clock.now = MIDNIGHT + 1
    built.seal_all(MIDNIGHT)
    return built


def catalogue(sealed: SealedStore) -> Catalogue:
    """As a new process reads it."""
    made = Catalogue(sealed.root / "segments")
    made.refresh()
    return made


def test_what_lies_there(sealed: SealedStore) -> None:
    """Every manifest in its order, with its exact bytes, and whether its file is there."""
    found = catalogue(sealed)

    assert found.datasets() == ["audit", "coverage"]
    assert [one.manifest.kind for one in found.sealed("audit")] == ["import", "live"]
    assert found.sealed("audit")[1].encoded == sealed.manifest(AUDIT, 1).read_bytes()
    assert [one.present for one in found.sealed("audit")] == [True, True]
    assert found.sealed("dns") == []


def test_where_a_journal_ends(sealed: SealedStore) -> None:
    """The last sealed file of each writer, from the newest manifest that has it."""
    found = catalogue(sealed)

    ends = {writer: found.end_of("audit", writer) for writer in ("gate", "door", "import")}

    assert {writer: end and (end.file, end.frames) for writer, end in ends.items()} == {
        "gate": (2, 2),
        "door": (1, 1),
        "import": (1, 1),
    }
    assert found.end_of("audit", "nobody") is None
    assert found.end_of("dns", "gate") is None


def test_a_file_that_went(sealed: SealedStore) -> None:
    """Its manifest stays, and says that the file is not there."""
    found = catalogue(sealed)
    sealed.segment(AUDIT, 0).unlink()

    found.refresh()

    assert [one.present for one in found.sealed("audit")] == [False, True]


def test_a_hole_is_named(sealed: SealedStore) -> None:
    """A manifest that is missing before others."""
    sealed.manifest(AUDIT, 0).unlink()

    with pytest.raises(SegmentError, match="segment audit/00000000: its manifest is missing"):
        catalogue(sealed)


def test_only_what_is_new_is_read(sealed: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look reads no manifest again; one that was replaced is read."""
    found = catalogue(sealed)
    read: list[str] = []
    real: Callable[[Path], bytes] = Path.read_bytes

    def watched(path: Path) -> bytes:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr("retention.catalogue.read_file", watched)
    found.refresh()
    unchanged = list(read)
    put(sealed.manifest(AUDIT, 1), real(sealed.manifest(AUDIT, 1)).replace(b"applog", b"other!"))
    found.refresh()

    assert unchanged == []
    assert read == ["00000001.manifest"]
    assert found.sealed("audit")[1].manifest.by == "other!"


def test_a_failed_look_keeps_what_was_known(sealed: SealedStore) -> None:
    """What was read before stays until all can be read."""
    found = catalogue(sealed)
    put(sealed.manifest(AUDIT, 1), b"no manifest")

    with pytest.raises(SegmentError, match="audit/00000001"):
        found.refresh()

    assert len(found.sealed("audit")) == 2


def test_no_segments_yet(tmp_path: Path) -> None:
    """An empty store has an empty catalogue."""
    made = Catalogue(tmp_path / "segments")

    made.refresh()

    assert made.datasets() == []


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("00000000.manifest", MANIFEST, True),
        ("00000000.segment", SEGMENT, True),
        ("00000000.segment", MANIFEST, False),
        (".00000000.segment", SEGMENT, False),
        ("0000000.segment", SEGMENT, False),
        ("00000000xsegment", SEGMENT, False),
        ("00000000.segment\n", SEGMENT, False),
        ("٠٠٠٠٠٠٠٠.segment", SEGMENT, False),
    ],
)
def test_names(name: str, suffix: str, expected: bool) -> None:
    """Eight digits and the suffix, nothing else."""
    assert is_name(name, suffix) is expected
