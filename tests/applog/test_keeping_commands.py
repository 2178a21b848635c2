"""`applog seal, verify, expire, prove, status`: what they print, do and record."""

import errno
import json
from pathlib import Path

import msgspec
import pytest

from applog import audit
from applog.keeper.proofs import Proved
from retention.ledger.view import read_ledger
from retention.proof import LedgerProof, RowProof, check_row, check_segment_proof, parse_proof
from retention.records import AUDIT
from retention.store import Store
from tests.support.command import CAPTURES, audits, new_store, quickly, sealed_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with sealed records."""
    return sealed_store(tmp_path / "store")


def flipped(path: Path) -> None:
    """One bit of the file at *path*."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Sealing


def test_sealing_says_what_it_sealed_and_what_waits(tmp_path: Path) -> None:
    """Without --now today's records wait for midnight, which is said; with it they are sealed at once."""
    store = new_store(tmp_path / "store")
    quickly(store.root, "import", str(CAPTURES / "dns.pcap"))

    waits = quickly(store.root, "seal")
    sealed = quickly(store.root, "seal", "--now")
    again = quickly(store.root, "seal")

    assert "there was nothing to seal" in waits.out
    assert "not sealed yet: 3 flow records, since midnight UTC: --now seals them" in waits.out
    assert "flow/00000000: 3 records, " in sealed.out
    assert "MB/s" in sealed.out
    assert "flow" not in again.out
    assert [one["event.action"] for one in audits(store)].count("seal") == 3


def test_a_damaged_journal_is_an_incident(store: Store) -> None:
    """Code 3, what is damaged and what to do; the rest is sealed."""
    quickly(store.root, "import", str(CAPTURES / "tcp-fin.pcap"), str(CAPTURES / "tcp-reset.pcap"))
    flipped(min((store.root / "journals" / "flow" / "import").glob("*.journal")))

    done = quickly(store.root, "seal", "--now")

    assert done.code == 3
    assert "audit/00000001: " in done.out
    assert "applog: error: flow is not sealed: journal" in done.err
    assert "applog: hint: copy the data directory" in done.err


def test_running_writers_are_waited_for(store: Store) -> None:
    """They are told of the cut; what one wrote before it is sealed although it goes on."""
    entry = audit.entry(store.clock(), audit.Actor.current(), action="x", outcome="success")
    with store.writer(AUDIT, "capture") as writer:
        writer.append(AUDIT.batch([entry]))
        done = quickly(store.root, "seal", "--now")

    assert done.code == 0
    assert "audit/capture begin new files" in done.err
    assert "audit/00000001: 2 records" in done.out


# Verifying


def test_verification_names_its_checks(store: Store) -> None:
    """Numbered, in their order; that nothing outside was asked is said plainly."""
    done = quickly(store.root, "verify", "--deep")

    numbers = [line.split()[1] for line in done.out.splitlines() if line.startswith("ok ")]
    assert done.code == 0
    assert numbers == list("1234567")
    assert done.out.splitlines()[-1].startswith("UNANCHORED")


def test_verification_against_a_lodged_checkpoint(store: Store, tmp_path: Path) -> None:
    """`keys show --out` writes it, `verify --checkpoint` uses it; that of another store is refused."""
    note = tmp_path / "lodged.note"
    other = Store.create(tmp_path / "other")
    lodged = quickly(store.root, "keys", "show", "--out", str(note))

    well = quickly(store.root, "verify", "--checkpoint", str(note))
    wrong = quickly(other.root, "verify", "--checkpoint", str(note))
    none = quickly(store.root, "verify", "--checkpoint", str(tmp_path / "none"))

    assert f"wrote {note}" in lodged.out
    assert (well.code, none.code) == (0, 5)
    assert "UNANCHORED" not in well.out
    assert "ok     2 anchor: the ledger extends" in well.out
    assert wrong.code == 3


def test_a_rolled_back_store_does_not_fit_its_lodged_checkpoint(store: Store, tmp_path: Path) -> None:
    """It is consistent in itself, and still found out."""
    copy = sealed_store(tmp_path / "copy")
    note = tmp_path / "lodged.note"
    quickly(store.root, "seal", "--now")
    quickly(store.root, "keys", "show", "--out", str(note))

    alone = quickly(copy.root, "verify")
    anchored = quickly(copy.root, "verify", "--checkpoint", str(note))

    assert alone.code == 0
    assert anchored.code == 3
    assert "FAILED 2 anchor" in anchored.out


def test_damage_is_named_and_the_rest_is_checked(store: Store) -> None:
    """Each failure on a line; the checks behind it are done too; for machines the same as JSON."""
    flipped(store.root / "segments" / "flow" / "00000000.segment")

    done = quickly(store.root, "verify", "--deep")
    machine = quickly(store.root, "verify", "--json")

    answer = json.loads(machine.out)
    assert done.code == machine.code == 3
    assert "FAILED 5 files" in done.out
    assert "ok     6 journals" in done.out
    assert "segment flow/00000000" in done.err
    assert "applog: hint: copy the data directory" in done.err
    assert (answer["ok"], answer["anchored"]) == (False, False)
    assert [one["number"] for one in answer["checks"] if not one["ok"]] == [5]
    assert "flow/00000000" in answer["checks"][4]["failures"][0]
    assert [one["event.outcome"] for one in audits(store) if one["event.action"] == "verify"] == [
        "failure"
    ] * 2


def test_a_ledger_that_does_not_hold_stops_at_once(store: Store) -> None:
    """Nothing can be held against it; also for machines."""
    flipped(store.root / "ledger" / "entries")

    done = quickly(store.root, "verify")
    machine = quickly(store.root, "verify", "--json")

    assert done.code == machine.code == 3
    assert "applog: error: " in done.err
    assert "ledger" in done.err
    assert json.loads(machine.out)["error"]


def test_only_a_range_is_verified(store: Store) -> None:
    """Segments outside it are not read; the ledger is, whole."""
    flipped(store.root / "segments" / "flow" / "00000000.segment")

    outside = quickly(store.root, "verify", "--since", "2026-01-01", "--until", "2026-01-02")

    assert outside.code == 0
    assert "files: 0 segments" in outside.out


# Expiry, proofs, status


def test_expiry_says_why_nothing_is_deleted(store: Store, tmp_path: Path) -> None:
    """No confirmed time: each segment with its days and why it stays."""
    config = tmp_path / "applog.toml"
    config.write_text("[time]\nservers = []\n[retention]\nflow = 90\n")

    dry = quickly(store.root, "expire", "--dry-run", APPLOG_CONFIG=str(config))
    done = quickly(store.root, "expire", APPLOG_CONFIG=str(config))

    assert (dry.code, done.code) == (0, 0)
    assert "nothing is ever deleted" in dry.err
    assert "flow/00000000           90           12" in dry.out
    assert "no time was confirmed" in dry.out
    assert "0 of 3 segments would be deleted" in dry.out
    assert "0 of 3 segments deleted" in done.out


def test_proofs_hold_outside_the_store(store: Store) -> None:
    """Each line alone leads to the checkpoint that the store's key signed."""
    done = quickly(store.root, "prove", "flow/0:0", "audit/00000000:1", "--reason", "case 7")

    view = read_ledger(store.root / "ledger")
    found = [msgspec.json.decode(line, type=Proved) for line in done.out.splitlines()]
    assert [one.position for one in found] == ["flow/00000000:0", "audit/00000000:1"]
    for one in found:
        proof, ledger = parse_proof(bytes(one.proof), RowProof), parse_proof(bytes(one.ledger), LedgerProof)
        check_segment_proof(
            proof, check_row(one.line, proof), ledger, [view.state.key_at(view.checkpoint.size)]
        )
    look = audits(store)[-1]
    assert (look["event.action"], look["event.reason"], look["audit.shown"]) == ("prove", "case 7", 2)


def test_a_proof_that_cannot_be_made_is_recorded(store: Store) -> None:
    """As a failed look; nothing is printed."""
    done = quickly(store.root, "prove", "flow/0:0", "flow/7:0")

    assert done.code == 5
    assert done.out == ""
    assert audits(store)[-1]["event.outcome"] == "failure"


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        (("prove", "flow/0:0"), "retention.ledger.view.read_ledger"),
        (("search", "*"), "applog.search.statement.answer"),
    ],
    ids=["prove", "search"],
)
def test_a_look_that_the_disk_refuses_is_recorded(
    store: Store, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], broken: str
) -> None:
    """As a failed one; nothing is printed."""

    def refuses(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(broken, refuses)
    done = quickly(store.root, *words)

    look = audits(store)[-1]
    assert done.code != 0
    assert done.out == ""
    assert (look["event.action"], look["event.outcome"]) == (words[0], "failure")
    assert "Input/output error" in str(look["event.reason"])


def test_status_shows_how_the_store_is_kept(store: Store) -> None:
    """What is sealed and what is not, for how long it is kept, the checkpoint, the keeper, the last night."""
    done = quickly(store.root, "status")

    assert done.code == 0
    assert "12 sealed in 1 segments, 0 not yet; kept for 97 days" in done.out
    assert "kept for 1,096 days" in done.out
    assert "newest checkpoint: " in done.out
    assert "keeper: does not run" in done.out
    assert "verified: not yet" in done.out


def test_status_tells_of_a_broken_ledger(store: Store) -> None:
    """With code 3, and the rest is shown."""
    flipped(store.root / "ledger" / "entries")

    done = quickly(store.root, "status")

    assert done.code == 3
    assert "damaged: " in done.err
    assert "ledger" in done.err
    assert "12 sealed in 1 segments" in done.out
