"""A power cut at every step: what was acknowledged is there once, and what was published still holds."""

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from retention.durable import write_file
from tests.support.disk import HOUR
from tests.support.outage import VARIANTS, Forgetful, Variant
from tests.support.power import PowerCutError
from tests.support.sealed import MIDNIGHT, SealedStore, first_day

LOST, NAMES = VARIANTS[0], VARIANTS[1]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A day of journals that wait to be sealed, their heads signed. Nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        built = SealedStore(tmp_path_factory.mktemp("waiting") / "store")
        first_day(built)
        built.clock.now = MIDNIGHT + HOUR
        built.sign_heads()
    return built


def cut_short(original: SealedStore, root: Path, step: int, variant: Variant) -> tuple[bool, list[str]]:
    """Seal a copy, cut the power at *step*, start again; whether it was cut, and what is wrong then."""
    target = original.copied(root)
    with pytest.MonkeyPatch.context() as patch:
        disk = Forgetful(root, patch)
        disk.published.append(target.lodge())
        cut = was_cut(disk, step, lambda: target.seal_all(MIDNIGHT), variant)
        again = target.reopened()
        again.seal_all(MIDNIGHT)
        wrong = again.verify(deep=True)
        for anchor in disk.published:
            wrong += again.verify(anchor=anchor)
        wrong += [] if again.lines() == original.lines() else ["rows are lost or twice"]
    for path in (root, root.with_name(root.name + ".graves")):
        shutil.rmtree(path)
    return cut, wrong


def was_cut(disk: Forgetful, step: int, work: Callable[[], object], variant: Variant) -> bool:
    """Do *work* with the power cut at *step*; False: it was done before."""
    disk.cut(step)
    try:
        work()
    except PowerCutError:
        disk.crash(variant, step)
        return True
    disk.mend()
    return False


Forms = Callable[[int], tuple[Variant, ...]]
"""The variants to try at a step."""


def sweep(original: SealedStore, work: Path, variants: Forms, stride: int = 1) -> Counter[str]:
    """Cut at every *stride*-th step in turn; what went wrong, in words, and ``steps``, how many there are."""
    found: Counter[str] = Counter()
    for step in itertools.count(0, stride):
        for variant in variants(step):
            cut, wrong = cut_short(original, work / "run", step, variant)
            found.update(f"step {step}, {variant.name}: {one}" for one in wrong)
        if not cut:
            found["steps"] = step
            return found
    raise AssertionError("unreachable")


def test_the_simulated_disk_forgets(tmp_path: Path) -> None:
    """The control: without its syncs the durable write is not durable, with them it is."""
    root = tmp_path / "disk"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        disk = Forgetful(root, patch)
        synced, unsynced, renamed = root / "synced", root / "unsynced", root / "renamed"
        write_file(synced, b"kept")
        unsynced.touch()
        descriptor = os.open(root / "temporary", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"lost")
        os.close(descriptor)
        (root / "temporary").rename(renamed)

        disk.crash(NAMES)
        names = {path.name: path.read_bytes() for path in root.iterdir()}
        renamed.unlink()
        disk.crash(LOST)

    assert names == {"synced": b"kept", "unsynced": b"", "renamed": b""}
    assert renamed.exists()


def test_sealing_survives_a_cut(waiting: SealedStore, tmp_path: Path) -> None:
    """Sealed or not sealed, never half; each published checkpoint holds; every row is there once."""
    found = sweep(waiting, tmp_path, lambda step: (VARIANTS[step // 9 % len(VARIANTS)],), stride=9)

    assert found.pop("steps") > 100
    assert not found


@pytest.mark.integration
def test_sealing_survives_every_sixth_cut_in_every_form(waiting: SealedStore, tmp_path: Path) -> None:
    """The same, whatever the disk kept of what was not synced. (All cuts were tried; it takes minutes.)."""
    found = sweep(waiting, tmp_path, lambda _: VARIANTS, stride=6)

    assert found.pop("steps") > 100
    assert not found


class Unlucky(Forgetful):
    """A disk whose fsync of one file fails once: Linux then takes its pages for clean and forgets them.

    Unless they are written again.
    """

    victim = ""
    turn = 0
    _bad: tuple[int, int, int] | None = None
    """Inode, first and last byte that only the memory has."""

    def _fsync(self, descriptor: int) -> None:
        place, found = self._place(descriptor), os.fstat(descriptor)
        if place is not None and place.name == self.victim:
            self.turn -= 1
            if self.turn == 0:
                self._bad = (found.st_ino, len(self._content[found.st_ino]), found.st_size)
                raise OSError(5, os.strerror(5))
        super()._fsync(descriptor)
        if self._bad is not None and self._bad[0] == found.st_ino:
            self._content[found.st_ino] = self._with_hole(self._content[found.st_ino])

    def _pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if self._bad is not None and os.fstat(descriptor).st_ino == self._bad[0] and offset <= self._bad[1]:
            self._bad = None
        return super()._pwrite(descriptor, data, offset)

    def _truncate(self, path: Path, length: int) -> None:
        if self._bad is not None and path.stat().st_ino == self._bad[0] and length <= self._bad[1]:
            self._bad = None
        super()._truncate(path, length)

    def _with_hole(self, content: bytes) -> bytes:
        _, first, last = self._bad or (0, 0, 0)
        return content[:first] + bytes(last - first) + content[last:]


@pytest.mark.parametrize("turn", [2, 3, 5])
def test_a_failed_sync_of_the_ledger_is_not_believed_later(
    waiting: SealedStore, tmp_path: Path, turn: int
) -> None:
    """Entries whose sync failed are in memory only: nothing is signed over them until written again."""
    target = waiting.copied(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        disk = Unlucky(target.root, patch)
        disk.victim, disk.turn = "entries", turn
        with pytest.raises(Exception, match="Input/output"):
            target.seal_all(MIDNIGHT)
        target.reopened().seal_all(MIDNIGHT)
        disk.crash(LOST)
        again = target.reopened()
        again.seal_all(MIDNIGHT)

    assert again.verify(deep=True) == []
    assert again.lines() == waiting.lines()
