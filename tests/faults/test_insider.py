"""Another history, made by somebody with keys: what gives it away, and what only an anchor does.

Rules:
    1. Each forgery is consistent; the test says which check finds it, and the control that finds nothing.
    2. What nothing finds without an anchor is stated as that, not left out.
"""

import dataclasses

import msgspec
import pytest

from retention.journal.adopt import AdoptedFile
from retention.leaves import EMPTY_ROOT
from tests.support.disk import put
from tests.support.insider import Insider, rechained, with_value
from tests.support.sealed import AUDIT, MIDNIGHT, SealedStore

NO_ROWS = dict.fromkeys(("day", "first", "last", "file_id", "plain", "file", "size")) | {
    "count": 0,
    "subjects": 0,
    "root": EMPTY_ROOT.hex(),
}
"""What a manifest of a period without rows says."""


def with_another_actor(files: list[AdoptedFile]) -> list[AdoptedFile]:
    """The first row was somebody else's."""
    batch = with_value(files[0].batches[0], "user.name", 0, "mallory")
    return [dataclasses.replace(files[0], batches=(batch, *files[0].batches[1:])), *files[1:]]


def without_gates_second(files: list[AdoptedFile]) -> list[AdoptedFile]:
    """The rows of one whole journal file are left out."""
    return [file for file in files if (file.writer, file.number) != ("gate", 2)]


def test_rows_changed_under_the_old_chain(target: SealedStore) -> None:
    """A row changed, everything redone but the chain hashes: --deep rebuilds the frame and names it."""
    insider = Insider(target)

    insider.put_manifest(AUDIT, insider.replace_rows(AUDIT, 1, with_another_actor))
    insider.forge(insider.entries())

    assert target.verify() == []
    (failure,) = target.verify(deep=True)
    assert "segment audit/00000001: frame 1 of journal door.1 does not give its chain hash" in failure


def test_rows_changed_with_the_chain(target: SealedStore) -> None:
    """A row changed and its chain redone: it does not end as the manifest says."""
    insider = Insider(target)

    manifest = insider.replace_rows(AUDIT, 1, lambda files: rechained(AUDIT, with_another_actor(files)))
    insider.put_manifest(AUDIT, manifest)
    insider.forge(insider.entries())

    assert target.verify() == []
    (failure,) = target.verify(deep=True)
    assert "segment audit/00000001: its journals do not end as its manifest says" in failure


def test_rows_changed_with_chain_and_manifest(target: SealedStore) -> None:
    """The manifest redone too: the head that was signed before the sealing is another one."""
    insider = Insider(target)
    forged: list[AdoptedFile] = []

    def change(files: list[AdoptedFile]) -> list[AdoptedFile]:
        forged.extend(rechained(AUDIT, with_another_actor(files)))
        return forged

    manifest = insider.replace_rows(AUDIT, 1, change)
    door = msgspec.structs.replace(manifest.journals[0], head=forged[0].head.hex())
    insider.put_manifest(AUDIT, msgspec.structs.replace(manifest, journals=(door, *manifest.journals[1:])))
    insider.forge(insider.entries())

    failures = target.verify()
    assert any("journal audit/door, file 1: its head behind frame 1" in failure for failure in failures)


def test_a_journal_file_left_out_of_its_segment(target: SealedStore) -> None:
    """The manifest names journal files 1 and 2, the segment holds 1 alone: --deep misses the other."""
    insider = Insider(target)

    insider.put_manifest(AUDIT, insider.replace_rows(AUDIT, 1, without_gates_second))
    insider.forge(insider.entries())

    assert any("audit/00000001" in failure for failure in target.verify(deep=True))


def test_signed_rows_sealed_as_a_period_without_rows(target: SealedStore) -> None:
    """Frames whose head was signed cannot become a manifest that says: nothing happened."""
    insider = Insider(target)
    target.clock.move(3_600_000_000)
    target.seal_all()
    sealed = len(target.store.catalogue.sealed(AUDIT.name)) - 1
    manifest = insider.manifest(AUDIT, sealed)
    control = target.verify(deep=True)

    nothing = [msgspec.structs.replace(journal, frames=0) for journal in manifest.journals]
    insider.put_manifest(AUDIT, msgspec.structs.replace(manifest, **NO_ROWS, journals=tuple(nothing)))
    target.segment(AUDIT, sealed).unlink()
    insider.forge(insider.entries())

    assert control == []
    assert any(f"audit/{sealed:08d}" in failure or "audit/gate" in failure for failure in target.verify())


def test_the_old_key_signs_no_more(target: SealedStore) -> None:
    """After a rotation, a checkpoint that only the old key signed is refused, whatever it covers."""
    with target.sealing() as (ledger, sealer):
        old = ledger.state.key
        ledger.rotate_signing_key(target.clock())
        sealer.sign_heads()
    target.sign_heads()
    control = target.verify()
    insider = Insider(target)

    insider.sign(insider.state(), old)

    assert control == []
    assert target.verify() != []


def test_what_nobody_signed_is_not_signed_at_the_next_start(target: SealedStore) -> None:
    """A whole entry, appended without any key, does not become history because the keeper starts again."""
    before = target.lodge()
    forged = (
        target.entries.read_bytes()
        .splitlines()[-1]
        .replace(b'"confirmed":null', b'"confirmed":"2099-01-01T00:00:00.000000Z"')
    )
    with target.entries.open("ab") as entries:
        entries.write(forged + b"\n")

    (failure,) = target.verify()
    target.reopened().sign_heads()

    assert "entries that nobody signed" in failure
    assert b"2099" not in target.entries.read_bytes()
    assert target.verify(anchor=before) == []


@pytest.mark.parametrize("kept", [2, 11], ids=["nothing", "the first day"])
def test_an_older_ledger_costs_no_segment(target: SealedStore, kept: int) -> None:
    """Ledger and last-signed put back from a back-up: starting refuses, and deletes nothing that is newer."""
    insider = Insider(target)
    insider.forge(insider.entries()[:kept])
    before = sorted((target.root / "segments").rglob("*"))

    with pytest.raises(Exception, match=r"segment|ledger|journal"):
        target.reopened().seal_all(MIDNIGHT)

    assert sorted((target.root / "segments").rglob("*")) == before


def test_a_lost_ledger_costs_no_segment(target: SealedStore) -> None:
    """Without ledger and last-signed nothing is started anew over segments that are there."""
    for path in (target.entries, target.checkpoint, target.last_signed):
        path.unlink()
    before = sorted((target.root / "segments").rglob("*"))

    with pytest.raises(Exception, match=r"ledger|segment"):
        target.reopened().seal_all(MIDNIGHT)

    assert sorted((target.root / "segments").rglob("*")) == before


def test_control(target: SealedStore) -> None:
    """The same steps without a change: nothing is found, with and without the anchor."""
    before = target.lodge()
    insider = Insider(target)

    insider.put_manifest(AUDIT, insider.replace_rows(AUDIT, 1, list))
    insider.forge(insider.entries())

    assert target.verify(deep=True) == []
    assert "are not those that were signed" in "".join(target.verify(anchor=before))


def test_an_older_last_signed_costs_no_segment(target: SealedStore) -> None:
    """keys/ put back from a back-up, all else as it was: the newer checkpoint is signed too, nothing goes."""
    first_days = Insider(target).entries()[:11]
    newest, entries = target.lodge(), target.entries.read_bytes()
    Insider(target).forge(first_days)
    put(target.entries, entries)
    put(target.checkpoint, newest)
    before = sorted((target.root / "segments").rglob("*"))

    target.reopened().sign_heads()

    assert sorted((target.root / "segments").rglob("*")) == before
    assert target.verify(anchor=newest) == []
