"""The ledger cut, forked, exchanged, reordered, forged; the store put back: what tells, and what cannot.

Rules:
    1. Without an anchor, whoever holds the keys, or an old copy of everything, passes: check 2 says so,
       UNANCHORED, and each such test shows that the anchor finds it (FORMAT.md 11).
    2. The control is ``undamaged``: verified deeply against its own anchor before any test runs.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.attacks import ledger_complaint, ledger_lines, refused, sign_lines
from tests.support.disk import DAY, put
from tests.support.insider import Insider
from tests.support.sealed import AUDIT, COVERAGE, SealedStore, looks, small_store

WITHOUT_THE_LAST = 19
"""Entries before the newest manifest, coverage/00000002, ends them with heads."""


def is_unanchored(target: SealedStore) -> bool:
    """Whether check 2 says that nothing outside vouches for it."""
    return "UNANCHORED" in target.checks()[0][1].says


def drop_the_newest(target: SealedStore, *, sign: bool) -> bytes:
    """Take the newest manifest of coverage and its entries away; the anchor of before.

    Only *sign* puts checkpoints of then in place, which an attacker without keys may have kept.
    """
    before, lines = target.lodge(), ledger_lines(target)[:WITHOUT_THE_LAST]
    target.manifest(COVERAGE, 2).unlink()
    if sign:
        sign_lines(target, lines)
    else:
        put(target.entries, b"".join(line + b"\n" for line in lines))
    return before


def test_the_newest_segment_and_its_entries_cut(target: SealedStore) -> None:
    """The checkpoint is larger than what is left of the ledger."""
    drop_the_newest(target, sign=False)

    assert "its end was cut off" in ledger_complaint(target)
    assert "its end was cut off" in refused(target)


def test_the_newest_cut_and_an_older_checkpoint(target: SealedStore) -> None:
    """With the checkpoint of then put back, the signer's memory is larger."""
    remembered = target.last_signed.read_bytes()
    drop_the_newest(target, sign=True)
    put(target.last_signed, remembered)

    failures = target.verify()

    assert "its end was cut off" in failures[0]
    assert "its end was cut off" in refused(target)


def test_the_newest_cut_without_the_signers_memory(target: SealedStore) -> None:
    """With last-signed deleted, its absence is named, and nothing is signed on."""
    target.journal(AUDIT, "gate", 4).unlink()
    drop_the_newest(target, sign=True)
    target.last_signed.unlink()

    assert any("last-signed" in failure for failure in target.verify())
    assert "is missing, but a checkpoint was published" in refused(target)


def test_the_newest_cut_with_the_signers_memory(target: SealedStore) -> None:
    """With last-signed put back too it is an older, whole store: only an anchor tells."""
    target.journal(AUDIT, "gate", 4).unlink()
    before = drop_the_newest(target, sign=True)

    assert target.verify(deep=True) == []
    assert is_unanchored(target)
    assert any("its end was cut off" in one for one in target.verify(anchor=before))


def test_signed_with_another_key(target: SealedStore) -> None:
    """A key of the same name that the ledger does not know signs nothing: reading and opening refuse."""
    insider = Insider(target)
    state = insider.state()
    other = target.store.signing_keys.create(state.key.name).key

    insider.sign(state, other)

    assert other.name == state.key.name
    assert "sign" in ledger_complaint(target)
    assert refused(target)


@pytest.fixture
def other(undamaged: SealedStore, tmp_path: Path, quick_sync: None) -> SealedStore:  # noqa: ARG001
    """A store of the same days, with keys of its own."""
    return small_store(tmp_path / "other")


def test_the_ledger_of_another_store(target: SealedStore, other: SealedStore) -> None:
    """Ledger and segments exchanged for another store's, whole: the store's mark, memory and anchor tell."""
    before = target.lodge()
    for name in ("ledger", "segments"):
        shutil.rmtree(target.root / name)
        shutil.copytree(other.root / name, target.root / name)

    assert target.verify() != []
    assert any("not" in one for one in target.verify(anchor=before))
    assert refused(target)


def test_a_fork(undamaged: SealedStore, tmp_path: Path, quick_sync: None) -> None:  # noqa: ARG001
    """Two histories from one beginning: each is whole, neither extends the other's anchor."""
    branches = [undamaged.copied(tmp_path / name) for name in ("left", "right")]
    for branch, actor in zip(branches, ("somchai", "mallory"), strict=True):
        branch.clock.move(DAY)
        branch.write(AUDIT, "gate", looks(actor, at=branch.clock()))
        branch.clock.move(DAY)
        branch.seal_all()
    left, right = branches

    assert left.verify(deep=True, anchor=undamaged.lodge()) == []
    assert right.verify(deep=True, anchor=undamaged.lodge()) == []
    assert any("not those that were signed" in one for one in left.verify(anchor=right.lodge()))
    assert any("not those that were signed" in one for one in right.verify(anchor=left.lodge()))


def swapped(lines: list[bytes], one: int, two: int) -> list[bytes]:
    """*lines* with two exchanged."""
    lines[one], lines[two] = lines[two], lines[one]
    return lines


REORDERED = {
    "two segments": (3, 5),
    "key and heads": (0, 1),
    "a segment before its key": (2, 3),
    "heads before a segment": (19, 20),
}


@pytest.mark.parametrize("places", REORDERED.values(), ids=REORDERED)
def test_entries_reordered(target: SealedStore, places: tuple[int, int]) -> None:
    """Without a key the root is another; signed anew, the entries contradict one another or the anchor."""
    before, lines = target.lodge(), swapped(ledger_lines(target), *places)
    put(target.entries, b"".join(line + b"\n" for line in lines))
    unsigned = ledger_complaint(target)

    sign_lines(target, lines)
    signed = target.verify(anchor=before)

    assert unsigned
    assert signed


@pytest.mark.parametrize("place", [0, 3, 19])
def test_an_entry_twice(target: SealedStore, place: int) -> None:
    """A first key, or a segment, is entered once: signed or not."""
    lines = ledger_lines(target)
    lines.insert(place, lines[place])
    put(target.entries, b"".join(line + b"\n" for line in lines))
    unsigned = ledger_complaint(target)

    sign_lines(target, lines)

    assert unsigned
    assert f"ledger entry {place + 1}" in ledger_complaint(target)


def entry(kind: str, **members: object) -> bytes:
    """A line of the ledger."""
    return json.dumps(
        {"type": kind, "time": "2026-03-05T01:00:00.000000Z", **members}, separators=(",", ":")
    ).encode()


CONFIRMED = "2026-03-05T01:00:00.000000Z"
EXPIRED = entry("expired", dataset="audit", sequence=0, day_key="kept")


def forged_expiry(target: SealedStore, days: int) -> list[bytes]:
    """A receipt for audit/00000000, before heads that confirmed no time."""
    manifest = json.loads(ledger_lines(target)[3])["manifest"]
    expiring = entry(
        "expiring",
        dataset="audit",
        sequence=0,
        manifest=manifest,
        confirmed=CONFIRMED,
        retention_days=days,
    )
    return [expiring, EXPIRED]


def test_a_forged_expired(target: SealedStore) -> None:
    """A segment deleted with a receipt without reason: even signed by the store's key it is refused."""
    lines = ledger_lines(target)
    target.segment(AUDIT, 0).unlink()

    sign_lines(target, [*lines[:-1], EXPIRED, lines[-1]])

    assert f"ledger entry {len(lines) - 1}" in ledger_complaint(target)


@pytest.mark.parametrize("days", [1, 89, 90])
def test_a_forged_expiring(target: SealedStore, days: int) -> None:
    """Nor with a reason that no confirmed time, or too few days, give."""
    lines = ledger_lines(target)
    target.segment(AUDIT, 0).unlink()

    sign_lines(target, [*lines[:-1], *forged_expiry(target, days), lines[-1]])

    assert f"ledger entry {len(lines) - 1}: audit/00000000 expires" in ledger_complaint(target)


def test_a_forged_time_and_expiry(target: SealedStore) -> None:
    """With a forged confirmation too, all fits, behind any anchor; the receipt is there for all to see."""
    before, insider = target.lodge(), Insider(target)
    entries = insider.entries()
    early = {**entries[-1], "confirmed": CONFIRMED}
    late = {**entries[-1], "confirmed": "2027-01-01T00:00:00.000000Z"}
    expiry = [json.loads(line) for line in forged_expiry(target, 90)]
    expiry[0]["confirmed"] = late["confirmed"]
    target.segment(AUDIT, 0).unlink()

    insider.forge([*entries, early, late, *expiry, late])

    assert target.verify(deep=True) == []
    assert target.verify(anchor=before) == []  # it is extended, not altered
    assert "1 gone with receipts" in "".join(check.says for check in target.checks()[0])


def test_the_whole_store_put_back(target: SealedStore, tmp_path: Path) -> None:
    """An older copy of everything passes, and says UNANCHORED; against the newer anchor it fails."""
    older = target.copied(tmp_path / "older")
    target.clock.move(DAY)
    target.write(AUDIT, "gate", looks("gone", at=target.clock()))
    target.clock.move(DAY)
    target.seal_all()
    newest = target.lodge()

    assert target.verify(deep=True, anchor=newest) == []
    assert older.verify(deep=True) == []
    assert is_unanchored(older)
    assert any("its end was cut off" in one for one in older.verify(anchor=newest))
