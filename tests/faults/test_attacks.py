"""One bit flipped, anywhere in what is sealed, signed or a key: it is noticed, and the place is named.

Rules:
    1. The control is ``undamaged``: verified deeply, with nothing found, before any test runs.
    2. A flip is undone behind each try, so that the next one is alone.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from retention.dataset import Dataset
from retention.errors import RetentionError
from retention.ledger.view import read_ledger
from retention.verify.structure import check_manifests
from tests.support.attacks import flipped_bit, ledger_complaint, noticed, refused
from tests.support.sealed import AUDIT, COVERAGE, SealedStore, looks

Notice = Callable[[SealedStore], Iterable[str]]
PLACES = {"header": 0, "salt": 1, "salt's end": 32, "prefix": 33, "first byte": 40, "tag": -16, "last": -1}
CHUNK = 65_536
DAY_KEY, JOURNAL_KEY = "keys/day/audit/2026-03-01.key", "keys/journal/2026-03-05.key"


@pytest.fixture(scope="module")
def several_chunks(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A store whose one segment has several chunks; each test leaves it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        built = SealedStore(tmp_path_factory.mktemp("chunks") / "store")
        built.write(AUDIT, "gate", looks(*(f"person-{number}" for number in range(2_000))))
        built.clock.move(1_000_000)
        built.seal_all()
    assert built.segment(AUDIT, 0).stat().st_size > 2 * CHUNK
    assert built.verify(deep=True) == []
    return built


def unnoticed(
    target: SealedStore, path: Path, notice: Notice, says: str = "", offsets: Iterable[int] | None = None
) -> list[int]:
    """Offsets of *path* (all, if none are given) where a flipped bit brings no complaint with *says*."""
    missed = []
    for offset in range(path.stat().st_size) if offsets is None else offsets:
        with flipped_bit(path, offset):
            if not any(says in one for one in notice(target)):
                missed.append(offset)
    return missed


def shallow(target: SealedStore) -> list[str]:
    """What a verification finds that needs no key."""
    return target.verify()


def deep(target: SealedStore) -> list[str]:
    """What a deep verification finds."""
    return target.verify(deep=True)


def opening(target: SealedStore) -> list[str]:
    """What opening the second segment of coverage complains of."""
    target.store.catalogue.refresh()
    try:
        target.store.segment(COVERAGE, target.store.catalogue.sealed(COVERAGE.name)[1]).close()
    except RetentionError as error:
        return [str(error)]
    return []


def ledger_only(target: SealedStore) -> list[str]:
    """What reading the ledger finds."""
    return [complaint] if (complaint := ledger_complaint(target)) else []


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dataset", "number"), [(AUDIT, 0), (AUDIT, 1), (COVERAGE, 1)])
def test_a_bit_of_a_segment(target: SealedStore, dataset: Dataset, number: int, place: int) -> None:
    """Its digest names the segment without a key; with one, the chunk is named that does not open."""
    path = target.segment(dataset, number)

    with flipped_bit(path, place % path.stat().st_size):
        by_digest, by_key = target.verify(), target.verify(deep=True)

    assert len(by_digest) == 1
    assert f"segment {dataset.name}/{number:08d}" in by_digest[0]
    assert by_key[:1] == by_digest
    assert f"{path}, chunk 0" in by_key[1]


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_a_bit_of_one_of_several_chunks(several_chunks: SealedStore, chunk: int) -> None:
    """The chunk that was altered is the one that is named, first, middle or last."""
    path = several_chunks.segment(AUDIT, 0)

    with flipped_bit(path, chunk * CHUNK + 5_000):
        failures = several_chunks.verify(deep=True)

    assert "segment audit/00000000" in failures[0]
    assert f"chunk {chunk} " in failures[1]


@pytest.mark.integration
def test_every_byte_of_a_segment(target: SealedStore) -> None:
    """Exhaustive: no byte of a segment's file is without meaning, by its digest and by its key."""
    path = target.segment(COVERAGE, 1)

    assert unnoticed(target, path, shallow, "segment coverage/00000001") == []
    assert unnoticed(target, path, opening, f"{path}, chunk 0") == []
    assert target.verify(deep=True) == []


def manifests_only(target: SealedStore) -> list[str]:
    """What check 3 finds."""
    view = read_ledger(target.root / "ledger")
    return list(map(str, check_manifests(target.root, view)[1].failures))


@pytest.mark.parametrize(("dataset", "number", "stride"), [(AUDIT, 1, 3), (AUDIT, 3, 1), (COVERAGE, 0, 3)])
def test_a_byte_of_a_manifest(target: SealedStore, dataset: Dataset, number: int, stride: int) -> None:
    """Each manifest is a leaf, to its last byte: check 3 names the one that was altered."""
    path = target.manifest(dataset, number)
    offsets = range((path.stat().st_size - 1) % stride, path.stat().st_size, stride)

    missed = unnoticed(target, path, manifests_only, f"segment {dataset.name}/{number:08d}", offsets)

    assert missed == []
    assert manifests_only(target) == []


@pytest.mark.integration
def test_every_byte_of_every_manifest(target: SealedStore) -> None:
    """The same for all of them, as a shallow verification finds it."""
    for path in sorted((target.root / "segments").glob("*/*.manifest")):
        assert unnoticed(target, path, shallow, f"segment {path.parent.name}/{path.stem}") == []


def test_a_byte_of_the_entries(target: SealedStore) -> None:
    """Every seventh byte of the ledger: it is not the one that was signed, and is not gone on with."""
    offsets = range(target.entries.stat().st_size % 7, target.entries.stat().st_size, 7)

    missed = unnoticed(target, target.entries, ledger_only, offsets=offsets)

    assert missed == []
    assert ledger_complaint(target) == ""


@pytest.mark.integration
def test_every_byte_of_the_entries(target: SealedStore) -> None:
    """The same for every byte, read and opened for writing: nothing is appended to what was altered."""
    size = target.entries.stat().st_size

    assert unnoticed(target, target.entries, ledger_only) == []
    for offset in range(0, size, 50):
        with flipped_bit(target.entries, offset):
            assert refused(target)
            assert target.entries.stat().st_size == size


def test_every_byte_of_the_checkpoint(target: SealedStore) -> None:
    """Text, key name, key id and signature: no byte of it can be another one."""
    assert unnoticed(target, target.checkpoint, ledger_only) == []
    assert ledger_complaint(target) == ""


def test_every_byte_of_last_signed(target: SealedStore) -> None:
    """What the signer remembers is held against the ledger too."""
    assert unnoticed(target, target.last_signed, shallow) == []
    assert target.verify() == []


def test_a_day_key(target: SealedStore) -> None:
    """Any byte of a wrapped key: rows of its day are not read, and its path is named."""
    path = target.root / DAY_KEY

    missed = unnoticed(target, path, deep, DAY_KEY, range(0, path.stat().st_size, 5))

    assert missed == []
    assert target.verify(deep=True) == []


def test_a_journal_key(target: SealedStore) -> None:
    """Every byte of the private half of a day whose journals are open: reading them names it."""
    path = target.root / JOURNAL_KEY

    missed = unnoticed(target, path, reading, JOURNAL_KEY)

    assert missed == []
    assert reading(target) == []


def reading(target: SealedStore) -> list[str]:
    """What reading the open journals of audit complains of."""
    try:
        return list(map(str, target.reopened().store.journal(AUDIT).damages))
    except RetentionError as error:
        return [str(error)]


@pytest.mark.parametrize("name", ["keys/master.check", "store.json"])
def test_what_makes_it_a_store(target: SealedStore, name: str) -> None:
    """Mark and check value: a new process refuses, or the verification fails; never a crash."""
    path = target.root / name

    missed = unnoticed(target, path, noticed, offsets=range(0, path.stat().st_size, 3))

    assert missed == []
    assert noticed(target) == []


def test_the_signing_key(target: SealedStore) -> None:
    """Every byte of the wrapped signing key: nothing is signed with what it would then be."""
    (path,) = (target.root / "keys" / "signing").glob("*.key")

    missed = unnoticed(target, path, lambda altered: [refused(altered)], str(path))

    assert missed == []
    assert refused(target) == ""
