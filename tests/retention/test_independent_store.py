"""A stranger's verifier, written from FORMAT.md, takes what the store makes and refuses what it did not."""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention.errors import VerificationError
from retention.keys import SigningKeys
from retention.ledger.view import read_ledger
from retention.note import Checkpoint, VerifierKey, sign_checkpoint
from retention.store import Store
from retention.times import iso
from tests.support.disk import DAY, NOON, NOTES, flip
from tests.support.independent_store import verify_store
from tests.support.provable import ProvableStore, rows_of

pytestmark = pytest.mark.usefixtures("quick_sync")

Attack = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with several segments, writers and days, an import, and an open journal with a signed head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        store = ProvableStore.create(tmp_path_factory.mktemp("made") / "store")
        store.seal(rows_of({"a": 40, "b": 1}))
        store.write(rows_of({"a": 1}), writer="quill")
        store.write(rows_of({"c": 3}), writer="import")
        store.seal(rows_of({"a": 2}))
        store.clock.move(2 * DAY)
        store.store.make_keys_ahead()
        store.seal(rows_of({"a": 2}))
        with store.store.writer(NOTES, "pen") as journal, store.store.ledger() as ledger:
            journal.append(rows_of({"open": 2}))
            store.store.sealer(ledger, []).sign_heads()
        yield store.root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy, for one attack."""
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def test_what_the_store_made_is_taken(made: Path) -> None:
    """The stranger's verifier finds nothing wrong, with the store's own checkpoint as an anchor too."""
    ledger = verify_store(made, (made / "ledger" / "checkpoint").read_bytes())

    assert len(ledger.sealed["notes"]) >= 5
    assert [key for key in ledger.heads if key[1] == "pen"]


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Another content of a file."""
    path.write_bytes(change(path.read_bytes()))


def without_line(number: int) -> Callable[[bytes], bytes]:
    """Without that line."""
    return lambda data: b"".join(
        line for at, line in enumerate(data.splitlines(keepends=True)) if at != number
    )


ATTACKS: dict[str, tuple[Attack, str]] = {
    "mark-of-another": (
        lambda root: edit(root / "store.json", lambda data: data.replace(b'id": "', b'id": "0')),
        "ledger entry 0: the ledger of another store",
    ),
    "entry-altered": (
        lambda root: edit(root / "ledger/entries", lambda data: data.replace(b":02.000000Z", b":03.000000Z")),
        "checkpoint: of other entries",
    ),
    "entry-gone": (lambda root: edit(root / "ledger/entries", without_line(4)), "ledger entry|checkpoint"),
    "end-cut": (
        lambda root: edit(root / "ledger/entries", lambda data: data[: data[:-1].rindex(b"\n") + 1]),
        "checkpoint: [0-9]+ entries signed, [0-9]+ are there",
    ),
    "entry-appended": (
        lambda root: edit(root / "ledger/entries", lambda data: data + data.splitlines(keepends=True)[-1]),
        "entries behind the checkpoint",
    ),
    "torn-entry": (lambda root: edit(root / "ledger/entries", lambda data: data + b"{"), "entries behind"),
    "checkpoint-altered": (lambda root: flip(root / "ledger/checkpoint", 50, 1), "checkpoint: "),
    "manifest-altered": (
        lambda root: flip(root / "segments/notes/00000001.manifest", 200, 1),
        "notes/00000001.manifest: not the one in the ledger",
    ),
    "manifest-gone": (lambda root: (root / "segments/notes/00000001.manifest").unlink(), "00000001.manifest"),
    "segment-altered": (
        lambda root: flip(root / "segments/notes/00000000.segment", 300, 1),
        "notes/00000000: its file is not the one",
    ),
    "segment-cut": (
        lambda root: edit(root / "segments/notes/00000000.segment", lambda data: data[:-1]),
        "notes/00000000: its file has another size",
    ),
    "segment-gone": (lambda root: (root / "segments/notes/00000000.segment").unlink(), "notes/00000000: "),
    "stranger": (
        lambda root: (root / "segments/notes/00000099.segment").touch(),
        "the ledger knows nothing of it",
    ),
    "created-later": (
        lambda root: edit(root / "store.json", lambda data: data.replace(b"T12:00:00", b"T12:00:01")),
        "notes/0000000.: does not go on at",
    ),
    "journal-gone": (
        lambda root: next((root / "journals/notes/pen").glob("*.journal")).unlink(),
        r"\.journal: ",
    ),
    "journal-cut": (
        lambda root: edit(next((root / "journals/notes/pen").glob("*.journal")), lambda data: data[:-9]),
        "not the head that was signed at 1 frames",
    ),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_the_store_did_not_make_is_refused(copy: Path, attack: str) -> None:
    """Whatever is altered, gone, cut or added is refused, and its place is named."""
    do, message = ATTACKS[attack]
    do(copy)

    with pytest.raises(ValueError, match=message):
        verify_store(copy)


def test_another_history_does_not_extend_the_anchor(copy: Path, tmp_path: Path) -> None:
    """A store that was put back is consistent; the anchor that was lodged later shows it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        store = ProvableStore.create(tmp_path / "early")
        store.seal(rows_of({"a": 1}))
        shutil.copytree(store.root, tmp_path / "back")
        store.seal(rows_of({"a": 2}))
    anchor = (store.root / "ledger" / "checkpoint").read_bytes()

    verify_store(tmp_path / "back")
    verify_store(store.root, anchor)
    with pytest.raises(ValueError, match="anchor: checkpoint: 7 entries signed, 5 are there"):
        verify_store(tmp_path / "back", anchor)
    with pytest.raises(ValueError, match="anchor: "):
        verify_store(copy, anchor)


@pytest.fixture
def rotated(copy: Path) -> tuple[Path, VerifierKey]:
    """The copy after its signing key was rotated, and the key before."""
    store = Store.open(copy)
    with store.ledger() as ledger:
        old = ledger.state.key
        ledger.rotate_signing_key(NOON + 3 * DAY)
        store.sealer(ledger, []).sign_heads()
    return copy, old


def signed_by_old(root: Path, old: VerifierKey) -> None:
    """A checkpoint over the whole ledger that the old key alone signed: who stole it can do that."""
    view, store = read_ledger(root / "ledger"), Store.open(root)
    signer = SigningKeys(root / "keys" / "signing", store.master).signer(old)
    checkpoint = Checkpoint(origin=old.name, size=len(view.lines), root=view.checkpoint.root)
    (root / "ledger" / "checkpoint").write_bytes(sign_checkpoint(checkpoint, [signer]))


def test_a_rotation_is_followed(rotated: tuple[Path, VerifierKey], made: Path) -> None:
    """The new key signs from its entry on; an anchor that the old one signed before it still holds."""
    root, old = rotated

    ledger = verify_store(root, (made / "ledger" / "checkpoint").read_bytes())

    assert [key == str(old) for _, key in ledger.keys] == [True, False]


def test_a_key_that_was_rotated_out_signs_no_more(rotated: tuple[Path, VerifierKey]) -> None:
    """A checkpoint behind the rotation that only the old key signed is refused: it may be stolen."""
    root, old = rotated
    signed_by_old(root, old)

    with pytest.raises(ValueError, match="checkpoint: no signature by a known key"):
        verify_store(root)


def test_a_key_that_was_rotated_out_signs_no_more_for_us(rotated: tuple[Path, VerifierKey]) -> None:
    """The retention code refuses it too."""
    root, old = rotated
    signed_by_old(root, old)

    with pytest.raises(VerificationError):
        read_ledger(root / "ledger")


def test_a_rotation_needs_both_keys(copy: Path) -> None:
    """A rotation to a key of somebody else's, who does not have the old one, is refused."""
    origin = read_ledger(copy / "ledger").state.key
    new = Ed25519PrivateKey.generate()
    key = VerifierKey.of(origin.name, new.public_key().public_bytes_raw())
    signature = base64.b64encode(new.sign(b"whatever")).decode()
    entry = {"type": "key", "time": iso(NOON), "action": "rotated", "old": str(origin), "key": str(key)}
    entry |= {"signatures": [signature, signature]}
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    edit(copy / "ledger/entries", lambda data: data + line)

    with pytest.raises(ValueError, match="false signature"):
        verify_store(copy)
