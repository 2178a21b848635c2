"""Segments, manifests and journals moved, exchanged, deleted or put in: each is named.

Rules:
    1. The control is ``undamaged``: verified deeply, with nothing found, before any test runs.
    2. The attacker here has no key; who has one is in ``test_insider`` and ``test_attacks_on_history``.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from retention.errors import SealingRefusedError
from tests.support.attacks import no_hang, noticed, swap
from tests.support.disk import put
from tests.support.sealed import AUDIT, COVERAGE, MIDNIGHT, SealedStore, looks, small_store

PIPE_SECONDS = 30


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """Another store, of the same days and people, with keys of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        return small_store(tmp_path_factory.mktemp("foreign") / "store")


def names_each(failures: list[str], *names: str) -> bool:
    """Whether every one of *names* is in one of *failures*."""
    return all(any(name in one for one in failures) for name in names)


def test_two_segments_exchanged(target: SealedStore) -> None:
    """Files of one dataset and day, so of one key: both are named."""
    swap(target.segment(AUDIT, 0), target.segment(AUDIT, 1))

    failures = target.verify()

    assert len(failures) == 2
    assert names_each(failures, "segment audit/00000000", "segment audit/00000001")


def test_two_segments_exchanged_with_their_manifests(target: SealedStore) -> None:
    """Each fits its manifest, but a manifest has one place in the list: both are named."""
    swap(target.segment(AUDIT, 0), target.segment(AUDIT, 1))
    swap(target.manifest(AUDIT, 0), target.manifest(AUDIT, 1))

    failures = target.verify()

    assert names_each(
        failures, "segment audit/00000000: its manifest", "segment audit/00000001: its manifest"
    )


@pytest.mark.parametrize("with_manifests", [False, True], ids=["files", "files and manifests"])
def test_segments_exchanged_across_datasets(target: SealedStore, with_manifests: bool) -> None:
    """The first of audit for the first of coverage: both are named."""
    swap(target.segment(AUDIT, 0), target.segment(COVERAGE, 0))
    if with_manifests:
        swap(target.manifest(AUDIT, 0), target.manifest(COVERAGE, 0))

    failures = target.verify()

    assert names_each(failures, "segment audit/00000000", "segment coverage/00000000")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_segment_deleted(target: SealedStore, number: int) -> None:
    """Its file alone: missing, without a receipt."""
    target.segment(AUDIT, number).unlink()

    (failure,) = target.verify()

    assert f"segment audit/{number:08d}: its file" in failure
    assert "is missing" in failure


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_segment_deleted_with_its_manifest(target: SealedStore, number: int) -> None:
    """As if it had never been: the ledger knows better, and nothing more is sealed over it."""
    target.segment(AUDIT, number).unlink()
    target.manifest(AUDIT, number).unlink()

    failures = target.verify()

    assert f"segment audit/{number:08d}: its manifest" in failures[0]
    with pytest.raises(Exception, match=f"audit/{number:08d}: its manifest is missing"):
        target.reopened().seal_all()


@pytest.mark.parametrize("number", range(4))
def test_a_manifest_deleted(target: SealedStore, number: int) -> None:
    """One of a period without rows (the last) as well; the segment stays where it is."""
    target.manifest(AUDIT, number).unlink()
    before = sorted((target.root / "segments").rglob("*"))

    failures = target.verify()

    assert f"segment audit/{number:08d}: its manifest" in failures[0]
    with pytest.raises(Exception, match=f"audit/{number:08d}: its manifest is missing"):
        target.reopened().seal_all()
    assert sorted((target.root / "segments").rglob("*")) == before


@pytest.mark.parametrize("with_manifest", [False, True], ids=["file", "file and manifest"])
def test_a_segment_of_another_store(target: SealedStore, foreign: SealedStore, with_manifest: bool) -> None:
    """The same rows under another store's keys are not this store's."""
    put(target.segment(AUDIT, 1), foreign.segment(AUDIT, 1).read_bytes())
    if with_manifest:
        put(target.manifest(AUDIT, 1), foreign.manifest(AUDIT, 1).read_bytes())

    failures = target.verify(deep=True)

    assert "segment audit/00000001" in failures[0]
    assert all("audit" in one for one in failures)


def test_a_journal_rewritten_behind_its_head(target: SealedStore) -> None:
    """Other rows under the same number, by a real writer: verify names it, and the sealer refuses."""
    path = target.journal(AUDIT, "gate", 4)
    path.unlink()
    target.write(AUDIT, "gate", looks("late", at=target.clock()), looks("nobody", at=target.clock()))
    target.clock.move(1_000_000)

    (failure,) = target.verify()

    assert path.exists()
    assert "journal audit/gate, file 4: its head behind frame 2" in failure
    with pytest.raises(SealingRefusedError, match="audit/gate, file 4: its frame 2 is not the one"):
        target.reopened().seal_all()


def test_a_journal_cut_behind_its_head(target: SealedStore) -> None:
    """The last frame taken from the end, so that it looks torn: its head was signed."""
    path = target.journal(AUDIT, "gate", 4)
    put(path, path.read_bytes()[:-9])
    target.clock.move(1_000_000)

    (failure,) = target.verify()

    assert "journal audit/gate, file 4: its head behind frame 2" in failure
    with pytest.raises(SealingRefusedError, match="audit/gate, file 4: its frame 2"):
        target.reopened().seal_all()


@pytest.mark.parametrize(("writer", "number"), [("gate", 4), ("door", 3), ("door", 2)])
def test_a_journal_deleted_before_it_was_sealed(target: SealedStore, writer: str, number: int) -> None:
    """A file whose head was signed, or that one signed behind it follows, cannot go in silence."""
    path = target.journal(AUDIT, writer, number)
    path.unlink()
    target.clock.move(1_000_000)

    found = target.verify()

    assert found or number == 2  # check 6 holds heads alone; the sealer sees the hole
    with pytest.raises(SealingRefusedError, match=str(path)):
        target.reopened().seal_all()


@pytest.mark.parametrize(
    "name",
    ["stray", "audit/stray", "audit/00000004.segment", "audit/00000009.manifest", "dns/00000000.segment"],
)
def test_a_stray_file(target: SealedStore, name: str) -> None:
    """What the ledger knows nothing of is named, wherever it lies among the segments."""
    path = target.root / "segments" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"put there")

    failures = target.verify()

    assert any(str(path) in one for one in failures)


def test_a_segment_for_a_time_without_rows(target: SealedStore) -> None:
    """A file beside a manifest that says that there is none."""
    shutil.copy(target.segment(AUDIT, 2), target.segment(AUDIT, 3))

    (failure,) = target.verify()

    assert "00000003.segment: there should be no file" in failure


def as_pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def as_directory(path: Path) -> None:
    """A directory."""
    path.mkdir()


def as_dangling(path: Path) -> None:
    """A symbolic link to nothing."""
    path.symlink_to("nowhere")


def as_endless(path: Path) -> None:
    """A symbolic link to a device that never ends."""
    path.symlink_to("/dev/zero")


def as_loop(path: Path) -> None:
    """A symbolic link to itself."""
    path.symlink_to(path.name)


VICTIMS = (
    "segments/audit/00000001.segment",
    "segments/audit/00000001.manifest",
    "ledger/entries",
    "ledger/checkpoint",
    "keys/day/audit/2026-03-01.key",
    "keys/journal/2026-03-05.key",
    "keys/master.key",
    "journals/audit/gate/00000004.journal",
    "store.json",
)


@pytest.mark.parametrize("replace", [as_pipe, as_directory, as_dangling, as_endless, as_loop])
@pytest.mark.parametrize("victim", VICTIMS)
def test_something_else_in_place_of_a_file(
    target: SealedStore, victim: str, replace: Callable[[Path], None]
) -> None:
    """A pipe, a directory, a link: complained of, by name, and nobody waits for it or reads for ever."""
    path = target.root / victim
    path.unlink()
    replace(path)

    with no_hang(PIPE_SECONDS):
        failures = noticed(target)

    assert failures
    assert any(part in failures[0] for part in (path.name, path.stem, "no applog store"))


@pytest.mark.parametrize("replace", [as_pipe, as_directory, as_endless])
def test_something_else_in_place_of_last_signed(target: SealedStore, replace: Callable[[Path], None]) -> None:
    """Nothing is signed while the signer's memory is not a file; nobody waits for it."""
    target.last_signed.unlink()
    replace(target.last_signed)

    with no_hang(PIPE_SECONDS), pytest.raises(Exception, match=r"last-signed|ledger"):
        target.reopened().seal_all(MIDNIGHT)


def test_a_link_to_another_segment(target: SealedStore) -> None:
    """A link is followed to what it names, which has to be what was sealed."""
    target.segment(AUDIT, 1).unlink()
    target.segment(AUDIT, 1).symlink_to(target.segment(AUDIT, 0))

    failures = target.verify()

    assert names_each(failures, "segment audit/00000001")
