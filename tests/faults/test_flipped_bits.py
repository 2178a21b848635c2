"""One bit flipped, anywhere in what is sealed and signed: it is noticed, and the place is named.

Rules:
    1. The control is ``undamaged``: verified deeply, with nothing found, before any test runs.
    2. A flip is undone behind each try, so that the next one is alone.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from retention.catalogue import MANIFEST, SEGMENT
from retention.ledger.view import read_ledger
from retention.verify.structure import check_manifests
from tests.support.attacks import flipped_bit, ledger_complaint, noticed
from tests.support.sealed import AUDIT, COVERAGE, SealedStore, looks, small_store

Noticed = Callable[[SealedStore], list[str]]
PLACES = {"header": 0, "salt": 1, "salt's end": 32, "prefix": 33, "first byte": 40, "tag": -16, "last": -1}
CHUNK = 65_536


@pytest.fixture(scope="module")
def several_chunks(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A store whose one segment has several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        built = SealedStore(tmp_path_factory.mktemp("chunks") / "store")
        built.write(AUDIT, "gate", looks(*(f"person-{number}" for number in range(2_000))))
        built.clock.move(1)
        built.seal_all()
    assert built.segment(AUDIT, 0).stat().st_size > 2 * CHUNK
    assert built.verify(deep=True) == []
    return built


def unnoticed(target: SealedStore, path: Path, offsets: Iterable[int], notice: Noticed, says: str) -> list[int]:
    """Offsets of *path* where a flipped bit brings no complaint that says *says*."""
    missed = []
    for offset in offsets:
        with flipped_bit(path, offset):
            if not any(says in one for one in notice(target)):
                missed.append(offset)
    return missed


def manifests_only(target: SealedStore) -> list[str]:
    """What check 3 finds."""
    view = read_ledger(target.root / "ledger")
    return list(map(str, check_manifests(target.root, view)[1].failures))


def ledger_only(target: SealedStore) -> list[str]:
    """What reading the ledger finds."""
    return [one for one in [ledger_complaint(target)] if one]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dataset", "number"), [(AUDIT, 0), (AUDIT, 1), (COVERAGE, 1)])
def test_a_bit_of_a_segment(target: SealedStore, dataset, number: int, place: int) -> None:
    """Shallow and deep: the segment is named."""
    path = target.segment(dataset, number)
    offset = place % path.stat().st_size

    with flipped_bit(path, offset):
        shallow, deep = target.verify(), target.verify(deep=True)

    name = f"segment {dataset.name}/{number:08d}"
    assert len(shallow) == 1
    assert name in shallow[0]
    assert any("chunk 0" in one or "header" in one for one in deep[1:])
