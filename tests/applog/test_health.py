"""Figures about the store are read from it, and what cannot be read is said."""

import dataclasses
from pathlib import Path

import pytest

from applog.health import DATASETS, DatasetState, dataset_state, days_kept
from applog.records import FLOW
from retention.records import COVERAGE, Coverage
from retention.store import Store
from tests.support.arranged import ARRANGEMENTS, arranged
from tests.support.command import CAPTURES, new_store, quickly
from tests.support.disk import DAY, HOUR, NOON, flip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


def note(store: Store, *times: int) -> None:
    """A coverage record at each of *times*."""
    with store.writer(COVERAGE, "test") as writer:
        for time in times:
            writer.append(COVERAGE.batch([Coverage(timestamp=time, source="test", reason="test")]))


def state(name: str, oldest: int | None) -> DatasetState:
    """A state that matters for when its oldest record was stored only."""
    return DatasetState(
        name=name,
        rows=1,
        oldest=None,
        newest=None,
        ingested=oldest,
        segments=0,
        damages=(),
        set_aside=(),
    )


def test_every_dataset_has_a_state() -> None:
    """Nothing that is stored is left out of status."""
    assert [dataset.name for dataset in DATASETS] == ["flow", "dns", "lease", "coverage", "audit"]


def test_an_empty_dataset(store: Store) -> None:
    """No record: no bounds, no damage, no days."""
    empty = dataset_state(store, FLOW)

    assert empty == dataclasses.replace(state("flow", None), rows=0)
    assert days_kept((empty,), NOON) is None


def test_bounds_are_those_of_the_records(store: Store) -> None:
    """Count, oldest and newest are read, whatever the order of writing was."""
    note(store, NOON, NOON - DAY, NOON + HOUR)

    found = dataset_state(store, COVERAGE, deep=True)

    assert (found.rows, found.oldest, found.newest) == (3, NOON - DAY, NOON + HOUR)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_sealed_or_not_the_figures_are_the_same(tmp_path: Path, arrangement: str) -> None:
    """Count, times and age, of manifests and journals together; no segment is opened for them."""
    early = [Coverage(timestamp=0, end=HOUR, source="t", reason="r")]
    late = [Coverage(timestamp=NOON + HOUR, source="t", reason="r")] * 2
    made = arranged(tmp_path / "store", arrangement, COVERAGE, early, late)
    for path in (made.root / "segments").rglob("*.segment"):
        path.write_bytes(b"not even a segment")

    found = dataset_state(made.store, COVERAGE)

    assert (found.rows, found.oldest, found.newest) == (3, 0, NOON + HOUR)
    assert found.ingested == NOON
    assert found.segments == {"journal": 0, "half": 1, "segments": 2}[arrangement]
    assert found.damages == ()


def test_days_are_counted_from_the_oldest_of_all() -> None:
    """The oldest record of any dataset decides; datasets without records do not."""
    states = (state("flow", NOON - 3 * DAY), state("dns", None), state("audit", NOON - 91 * DAY - DAY // 2))

    assert days_kept(states, NOON) == pytest.approx(91.5)


@pytest.mark.parametrize("deep", [False, True], ids=["plain", "deep"])
def test_damage_is_said_and_the_rest_counted(store: Store, deep: bool) -> None:
    """A changed byte is named by file and offset; the frames around it are still counted."""
    note(store, NOON, NOON + 1, NOON + 2)
    (path,) = (store.root / "journals" / "coverage" / "test").glob("*.journal")
    flip(path, path.stat().st_size // 2)

    found = dataset_state(store, COVERAGE, deep=deep)

    assert 1 <= found.rows < 3
    assert len(found.damages) >= 1
    assert str(path) in found.damages[0]


def test_status_says_what_is_stored(store: Store) -> None:
    """Every dataset with its count and its range in both calendars, and how old the oldest record is."""
    quickly(store.root, "import", str(CAPTURES / "dns.pcap"), "--profile", "detailed")

    done = quickly(store.root, "status", "--deep")

    assert (done.code, done.err) == (0, "")
    words = {line.split()[0]: line for line in done.out.splitlines() if line[:2] == "  " and line[2] != " "}
    assert set(words) == {dataset.name for dataset in DATASETS}
    assert " 3 records, " in words["dns"]
    assert "/2569 " in words["dns"]
    assert "(2026-" in words["dns"]
    assert "oldest record: " in done.out
    assert "every frame was read and its chain recomputed" in done.out


def test_status_of_an_empty_store_says_what_to_do(store: Store) -> None:
    """Nothing stored is no error, and the next step is named."""
    done = quickly(store.root, "status")

    assert done.code == 0
    assert "nothing is stored yet: applog import FILE" in done.out


def test_status_of_a_damaged_store_fails(store: Store) -> None:
    """Exit code 3 and the damaged file on standard error; it does not say that all was read."""
    quickly(store.root, "import", str(CAPTURES / "dns.pcap"))
    path = next((store.root / "journals" / "flow").rglob("*.journal"))
    flip(path, path.stat().st_size - 20)

    done = quickly(store.root, "status")

    assert done.code == 3
    assert f"damaged: journal {path}" in done.err
    assert "every frame was read" not in done.out


def test_status_reads_without_writing(store: Store) -> None:
    """Asking for the state changes no byte of the store."""
    quickly(store.root, "import", str(CAPTURES / "dns.pcap"))
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}

    quickly(store.root, "status", "--deep")

    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_a_torn_end_is_told_and_is_no_damage_once_set_aside(store: Store) -> None:
    """A write that a crash cut short is damage until the next writer sets it aside; then it is a note."""
    quickly(store.root, "import", str(CAPTURES / "dns.pcap"))
    path = next((store.root / "journals" / "flow").rglob("*.journal"))
    with path.open("ab") as file:
        file.write(path.read_bytes()[-40:][:20])

    torn = quickly(store.root, "status")
    quickly(store.root, "import", str(CAPTURES / "tls.pcap"))
    mended = quickly(store.root, "status", "--deep")

    (aside,) = path.parent.glob("*.tail-*")
    assert torn.code == 3
    assert "cut short, or is under way" in torn.err
    assert (mended.code, mended.err) == (0, "")
    assert f"note: {aside} is the end of a write that a crash cut short" in mended.out
    assert dataset_state(store, FLOW).set_aside == (str(aside),)


def test_a_deleted_segment_is_damage(store: Store) -> None:
    """A sealed file that is gone without a receipt is not passed over."""
    note(store, NOON)
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, DATASETS)
        sealer.recover()
        sealer.seal(COVERAGE, store.clock() + 1)
    store.catalogue.refresh()
    whole = dataset_state(store, COVERAGE)
    store.catalogue.sealed("coverage")[0].path.unlink()

    found = dataset_state(store, COVERAGE)

    assert (whole.rows, whole.damages) == (1, ())
    assert found.rows == 0
    assert "coverage/00000000: its file" in found.damages[0]
