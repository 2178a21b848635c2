"""Deletion cut short at every call to the disk: a signed receipt first, always, and finished once."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from retention.errors import JournalWriteError, RetentionError, StoreError
from retention.ledger.log import check_extends
from retention.records import COVERAGE
from tests.support.aging import Aging
from tests.support.disk import DAY, HOUR, NOON, Disk
from tests.support.power import Power, PowerCutError

pytestmark = pytest.mark.usefixtures("quick_sync")

FIRST = "coverage/00000000"


@pytest.fixture(scope="module")
def old_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments of the first day and one of the next; the first day is due."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        aging = Aging(tmp_path_factory.mktemp("old") / "store")
        aging.store_two_of_a_day()
        aging.go(DAY)
        aging.store_rows("next day")
    return aging.root


def aged(old_store: Path, root: Path) -> Aging:
    """A copy of *old_store*, on the day on which its first day is due."""
    shutil.copytree(old_store, root)
    return Aging(root, NOON + 90 * DAY + 2 * HOUR)


def check_after_a_cut(aging: Aging) -> None:
    """Whatever was cut: nothing is gone without a signed receipt, and a restart finishes it, once."""
    for number in (0, 1):
        signed = aging.signed().state_of("coverage", number)
        assert signed.expiring or aging.segment(f"coverage/{number:08d}").exists()
    if not aging.has_key(COVERAGE, NOON):
        assert not aging.segment(FIRST).exists()

    restarted = aging.reopened()
    restarted.recover()
    pending = [name for name, said in Counter(name for name, _ in restarted.receipts()).items() if said != 2]
    assert pending == []
    restarted.expire()

    assert restarted.texts() == {"next day"}
    assert not restarted.has_key(COVERAGE, NOON)
    assert sorted(restarted.receipts()) == [
        (FIRST, "expired kept"),
        (FIRST, "expiring 90"),
        ("coverage/00000001", "expired shredded"),
        ("coverage/00000001", "expiring 90"),
    ]
    assert not restarted.dry_run()["coverage/00000003"].expires
    with restarted.store.ledger() as ledger:
        check_extends(ledger.leaves, restarted.store.last_signed.read_bytes(), ledger.state)
    restarted.seal()


@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_every_call_to_the_disk_can_fail(old_store: Path, tmp_path: Path, disk: Disk, form: str) -> None:
    """A disk that refuses one call leaves a store that is consistent, and finished by the next start."""
    aging = aged(old_store, tmp_path / "whole")
    with aging.store.ledger() as ledger:
        disk.calls.clear()
        aging.expirer(ledger).expire()
        calls = list(disk.calls)
    steps = [step for step, call in enumerate(calls) if form != "partial" or call == "write"]

    for step in steps:
        aging = aged(old_store, tmp_path / f"{form}-{step}")
        with aging.store.ledger() as ledger:
            disk.fail(step, form, times=1)
            with pytest.raises(RetentionError) as caught:
                aging.expirer(ledger).expire()
            disk.repair()
        assert isinstance(caught.value, (JournalWriteError, StoreError))
        check_after_a_cut(aging)
    assert len(steps) > 3


@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_the_power_can_be_cut_anywhere(
    old_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A process that dies at any call leaves the same."""
    power = Power(monkeypatch)
    aging = aged(old_store, tmp_path / "whole")
    with aging.store.ledger() as ledger:
        power.calls.clear()
        aging.expirer(ledger).expire()
        steps = len(power.calls)

    for step in range(steps):
        aging = aged(old_store, tmp_path / f"{form}-{step}")
        with aging.store.ledger() as ledger:
            power.cut(step, form)
            with pytest.raises(PowerCutError):
                aging.expirer(ledger).expire()
            power.restore()
        check_after_a_cut(aging)
    assert steps > 20


@pytest.mark.parametrize("form", ["failed", "persisted"])
@pytest.mark.parametrize("call", ["unlink", "rename"], ids=["one-file-gone", "entered-not-signed"])
def test_recovery_can_be_cut_too(
    old_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, form: str
) -> None:
    """A second cut, while the first one is finished, or undone and done anew, changes nothing of that."""
    power = Power(monkeypatch)
    half = cut_at_the_first(call, old_store, tmp_path, power)
    done, step = False, 0
    while not done:
        aging = aged(half, tmp_path / f"{form}-{step}")
        power.cut(step, form)
        try:
            aging.recover()
            aging.expire()
            done = True
        except PowerCutError:
            step += 1
        power.restore()
        check_after_a_cut(aging)

    assert step > 20


def cut_at_the_first(call: str, old_store: Path, tmp_path: Path, power: Power) -> Path:
    """The store as a power cut leaves it: behind the first removal, or before the first signature."""
    trial, half = (aged(old_store, tmp_path / name) for name in ("trial", "half"))
    with trial.store.ledger() as ledger:
        power.calls.clear()
        trial.expirer(ledger).expire()
        step = power.calls.index(call)
    with half.store.ledger() as ledger:
        power.cut(step, "persisted" if call == "unlink" else "failed")
        with pytest.raises(PowerCutError):
            half.expirer(ledger).expire()
        power.restore()
    assert half.segment(FIRST).exists() is (call == "rename")
    assert bool(half.signed().state_of("coverage", 0).expiring) is (call == "unlink")
    return half.root


def test_removals_are_on_the_disk_before_the_receipt(
    old_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is synced behind the last removal: what is called expired does not come back."""
    power = Power(monkeypatch)
    aging = aged(old_store, tmp_path / "whole")

    with aging.store.ledger() as ledger:
        power.calls.clear()
        aging.expirer(ledger).expire()

    first = power.calls.index("unlink")
    assert power.calls[first : first + 4] == ["unlink", "unlink", "open", "fsync"]
