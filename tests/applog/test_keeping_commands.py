"""`applog seal, verify, keys, expire, prove, init, status`: what they print, do and record."""

import json
from pathlib import Path

import msgspec
import pytest

from applog import audit
from applog.errors import FileAccessError
from retention.ledger.view import read_ledger
from retention.note import open_checkpoint
from retention.proof import LedgerProof, RowProof, check_row, check_segment_proof
from retention.records import AUDIT
from retention.store import Store
from tests.support.command import CAPTURES, audits, new_store, quickly, sealed_store

PASSPHRASE = "correct horse battery staple"


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
    """Without --now today's records wait for midnight, which is said; with it they are sealed, and how fast."""
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
    quickly(store.root, "import", str(CAPTURES / "tcp-fin.pcap"))
    flipped(next((store.root / "journals" / "flow" / "import").glob("*.journal")))

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
    assert "checkpoint that was lodged" in well.out
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
    assert "applog: error: ledger" in done.err
    assert json.loads(machine.out)["error"]


def test_only_a_range_is_verified(store: Store) -> None:
    """Segments outside it are not read; the ledger is, whole."""
    flipped(store.root / "segments" / "flow" / "00000000.segment")

    outside = quickly(store.root, "verify", "--since", "2026-01-01", "--until", "2026-01-02")

    assert outside.code == 0
    assert "files: 0 segments" in outside.out


# Keys


def test_the_keys_are_shown(store: Store) -> None:
    """What others need: fingerprint, verifier key, checkpoint; as a QR code on demand."""
    view = read_ledger(store.root / "ledger")

    plain, coded = quickly(store.root, "keys", "show"), quickly(store.root, "keys", "show", "--qr")

    assert str(view.state.key) in plain.out
    assert view.signed.decode() in plain.out
    assert "█" in coded.out
    assert "█" not in plain.out


def test_the_signing_key_is_exchanged(store: Store) -> None:
    """The new one signs, the old one vouches for it, and it is said what to do now."""
    before = read_ledger(store.root / "ledger")

    done = quickly(store.root, "keys", "rotate-signing", "--yes")

    after = read_ledger(store.root / "ledger")
    assert done.code == 0
    assert str(after.state.key) in done.out
    assert "back up" in done.out
    assert before.state.keys == after.state.keys[:-1]
    assert len(open_checkpoint(after.signed, after.state.keys)[1].signed_by) == 2
    assert quickly(store.root, "verify", "--deep").code == 0


def test_nothing_is_exchanged_unless_it_is_confirmed(store: Store) -> None:
    """No terminal and no --yes: nothing happens."""
    before = (store.root / "keys" / "master.key").read_bytes()

    done = [
        quickly(store.root, "keys", verb) for verb in ("rotate-signing", "rotate-master", "set-passphrase")
    ]

    assert [one.code for one in done] == [130] * 3
    assert (store.root / "keys" / "master.key").read_bytes() == before
    assert len(read_ledger(store.root / "ledger").state.keys) == 1


def test_the_master_key_is_exchanged(store: Store) -> None:
    """Everything still opens, and the old key nothing."""
    path = store.root / "keys" / "master.key"
    before = path.read_bytes()

    done = quickly(store.root, "keys", "rotate-master", "--yes")
    new = path.read_bytes()
    well = quickly(store.root, "verify", "--deep")
    path.write_bytes(before)
    old = quickly(store.root, "verify", "--deep")

    assert (done.code, well.code, old.code) == (0, 0, 4)
    assert new != before
    assert "destroy older back-ups" in done.out


def test_a_passphrase_is_set_and_changed(store: Store, tmp_path: Path) -> None:
    """From files; without it, or with the old one, nothing opens."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f"{PASSPHRASE}\n")
    second.write_text("another long passphrase\n")
    for path in (first, second):
        path.chmod(0o600)

    set_ = quickly(store.root, "keys", "set-passphrase", "--yes", "--new", str(first))
    changed = quickly(
        store.root,
        *("keys", "set-passphrase", "--yes", "--new", str(second)),
        APPLOG_PASSPHRASE_FILE=str(first),
    )
    opens = quickly(store.root, "verify", "--deep", APPLOG_PASSPHRASE_FILE=str(second))
    old = quickly(store.root, "verify", "--deep", APPLOG_PASSPHRASE_FILE=str(first))
    without = quickly(store.root, "verify", "--deep")

    assert (set_.code, changed.code, opens.code) == (0, 0, 0), set_.err + changed.err + opens.err
    assert (old.code, without.code) == (4, 4)
    assert "APPLOG_PASSPHRASE_FILE" in without.err
    assert not (store.root / "keys" / "master.key").exists()
    assert PASSPHRASE not in set_.out + set_.err + changed.out + changed.err


def test_a_store_begins_with_a_passphrase(tmp_path: Path) -> None:
    """From the file that the environment names; a missing one, and one that is too short, are refused."""
    path, short = tmp_path / "passphrase", tmp_path / "short"
    path.write_text(f"{PASSPHRASE}\n")
    short.write_text("short\n")
    for one in (path, short):
        one.chmod(0o600)

    made = quickly(tmp_path / "data", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(path))
    missing = quickly(tmp_path / "b", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(tmp_path / "none"))
    refused = quickly(tmp_path / "c", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(short))

    assert made.code == 0, made.err
    assert "keep the passphrase apart" in made.out
    assert (tmp_path / "data" / "keys" / "master.passphrase").exists()
    assert missing.code == FileAccessError.exit_code
    assert refused.code == 4
    assert not (tmp_path / "c" / "store.json").exists()


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

    keys = read_ledger(store.root / "ledger").state.keys
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [one["position"] for one in found] == ["flow/00000000:0", "audit/00000000:1"]
    for one in found:
        proof = msgspec.convert(one["proof"], RowProof)
        check_segment_proof(
            proof, check_row(one["line"], proof), msgspec.convert(one["ledger"], LedgerProof), keys
        )
    look = audits(store)[-1]
    assert (look["event.action"], look["event.reason"], look["audit.shown"]) == ("prove", "case 7", 2)


def test_a_proof_that_cannot_be_made_is_recorded(store: Store) -> None:
    """As a failed look; nothing is printed."""
    done = quickly(store.root, "prove", "flow/0:0", "flow/7:0")

    assert done.code == 5
    assert done.out == ""
    assert audits(store)[-1]["event.outcome"] == "failure"


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
    assert "damaged: ledger" in done.err
    assert "12 sealed in 1 segments" in done.out
