"""Journal keys: made ahead, never replaced, refused with words when they do not fit, and destroyed whole."""

import datetime as dt
import itertools
import logging
import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from retention.errors import KeyMaterialError
from retention.keys import DAYS_AHEAD, FileMasterKey, Recipients
from tests.support.disk import Journal, flip
from tests.support.keyring import Held, said, shown
from tests.support.power import Power, PowerCutError

pytestmark = pytest.mark.usefixtures("quick_sync")


@pytest.fixture
def recipients(tmp_path: Path, master: FileMasterKey, today: dt.date) -> Recipients:
    """Day keys from today on."""
    made = Recipients(tmp_path / "days", master)
    made.make_ahead(today)
    return made


@pytest.mark.usefixtures("recipients")
def test_keys_are_made_ahead(tmp_path: Path, today: dt.date) -> None:
    """Today and the next days have a pair each; the private half is for its owner only."""
    days = [(today + dt.timedelta(days=ahead)).isoformat() for ahead in range(DAYS_AHEAD)]

    assert sorted(path.stem for path in (tmp_path / "days").glob("*.pub")) == days
    assert sorted(path.stem for path in (tmp_path / "days").glob("*.key")) == days
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "days").glob("*.key")} == {0o600}


def test_existing_keys_stay(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """Making ahead again adds the days that are missing and touches no other."""
    before = {path.name: path.read_bytes() for path in (tmp_path / "days").glob("*.*")}

    recipients.make_ahead(today)
    recipients.make_ahead(today + dt.timedelta(days=2))

    after = {path.name: path.read_bytes() for path in (tmp_path / "days").glob("*.*")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 4


def test_no_master_key_is_needed_when_nothing_is_missing(
    tmp_path: Path, recipients: Recipients, today: dt.date
) -> None:
    """A process that cannot read the master key may still ask for the days that are there."""
    (tmp_path / "keys" / "master.key").unlink()

    recipients.make_ahead(today)
    with pytest.raises(KeyMaterialError):
        recipients.make_ahead(today + dt.timedelta(days=1))


def test_the_private_half_is_written_first(
    tmp_path: Path, master: FileMasterKey, today: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public key whose private half is lost would swallow records, so it never lies there alone."""
    order: list[str] = []
    rename = os.rename

    def recorded(source: Path, target: Path) -> None:
        order.append(target.name)
        rename(source, target)

    monkeypatch.setattr(os, "rename", recorded)

    Recipients(tmp_path / "days", master).make_ahead(today)

    expected = [today + dt.timedelta(days=ahead) for ahead in range(DAYS_AHEAD)]
    assert order == [f"{day}.{half}" for day in expected for half in ("key", "pub")]


def test_a_lost_public_half_is_made_from_the_private_one(
    tmp_path: Path, recipients: Recipients, today: dt.date
) -> None:
    """A private key is never replaced: what was sealed to it before stays readable."""
    sealed = recipients.seal(today, b"secret", b"info")
    public = (tmp_path / "days" / f"{today}.pub").read_bytes()
    (tmp_path / "days" / f"{today}.pub").unlink()

    recipients.make_ahead(today)

    assert (tmp_path / "days" / f"{today}.pub").read_bytes() == public
    assert recipients.open(today, sealed, b"info") == b"secret"


def test_processes_at_once_agree(tmp_path: Path, master: FileMasterKey, today: dt.date) -> None:
    """Two commands that start together on a new day end with one pair, whose halves belong together."""
    makers = [Recipients(tmp_path / "days", master) for _ in range(6)]
    threads = [threading.Thread(target=maker.make_ahead, args=(today,)) for maker in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    fresh = Recipients(tmp_path / "days", master)
    for ahead in range(DAYS_AHEAD):
        day = today + dt.timedelta(days=ahead)
        assert fresh.open(day, fresh.seal(day, b"secret", b""), b"") == b"secret"


def test_sealing_needs_the_public_half_only(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """A writer without the private halves seals; with them back, the secret is opened."""
    private = tmp_path / "days" / f"{today}.key"
    kept = private.read_bytes()
    private.unlink()
    writer = Recipients(tmp_path / "days", FileMasterKey(tmp_path / "none"))

    sealed = writer.seal(today, b"secret", b"info")
    private.write_bytes(kept)

    assert b"secret" not in sealed
    assert recipients.open(today, sealed, b"info") == b"secret"
    assert writer.seal(today, b"secret", b"info") != sealed


def test_a_day_without_a_key_is_named(recipients: Recipients, today: dt.date) -> None:
    """Sealing to and opening for a day without keys is refused with the day and the file."""
    day = today - dt.timedelta(days=1)

    with pytest.raises(KeyMaterialError, match=f"no recipient key for {day}"):
        recipients.seal(day, b"secret", b"")
    with pytest.raises(KeyMaterialError, match=rf"{day}\.key: No such file"):
        recipients.open(day, b"sealed", b"")


def test_a_wrong_master_key_is_refused(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """Another master key opens nothing, and the message says which key file did not fit."""
    sealed = recipients.seal(today, b"secret", b"")
    other = FileMasterKey(tmp_path / "other.key")
    other.create()

    with pytest.raises(KeyMaterialError, match=rf"{today}\.key: the master key does not open it"):
        Recipients(tmp_path / "days", other).open(today, sealed, b"")


def test_swapped_day_keys_are_refused(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """The private key of another day under this day's name does not open the journal, and it is said."""
    sealed = recipients.seal(today, b"secret", b"")
    one, two = (tmp_path / "days" / f"{today + dt.timedelta(days=ahead)}.key" for ahead in (0, 1))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)

    with pytest.raises(KeyMaterialError, match=f"recipient key of {today} does not open"):
        recipients.open(today, sealed, b"")


def test_every_flipped_byte_is_refused(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """An altered byte of the wrapped key, of what was sealed or of its purpose is refused."""
    sealed = recipients.seal(today, b"secret", b"info")
    key = tmp_path / "days" / f"{today}.key"

    for at in range(key.stat().st_size):
        flip(key, at)
        with pytest.raises(KeyMaterialError):
            Recipients(tmp_path / "days", FileMasterKey(tmp_path / "keys" / "master.key")).open(
                today, sealed, b"info"
            )
        flip(key, at)
    for at in range(len(sealed)):
        with pytest.raises(KeyMaterialError):
            recipients.open(today, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"info")
    with pytest.raises(KeyMaterialError):
        recipients.open(today, sealed, b"Info")

    assert recipients.open(today, sealed, b"info") == b"secret"


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(32), bytes(200)], ids=len)
def test_nonsense_is_refused(recipients: Recipients, today: dt.date, sealed: bytes) -> None:
    """What is no sealed secret at all, short or all zeros, is refused the same way."""
    with pytest.raises(KeyMaterialError, match="does not open"):
        recipients.open(today, sealed, b"")


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)], ids=len)
def test_a_broken_public_key_is_refused(
    tmp_path: Path, recipients: Recipients, today: dt.date, content: bytes
) -> None:
    """A public key of a wrong length is refused before anything is sealed to it."""
    (tmp_path / "days" / f"{today}.pub").write_bytes(content)

    with pytest.raises(KeyMaterialError, match=rf"{today}\.pub"):
        recipients.seal(today, b"secret", b"")


def test_key_bytes_are_in_no_message(
    tmp_path: Path, journal: Journal, today: dt.date, other: Held, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the master key nor a day's private key appears in an error, its causes or the log."""
    caplog.set_level(logging.DEBUG)
    master = FileMasterKey(tmp_path / "master.key").read()
    wrapped = (tmp_path / "keys" / f"{today}.key").read_bytes()
    secrets = [master, aes_key_unwrap(master, wrapped), other.read()]
    sealed = journal.recipients.seal(today, b"secret", b"")
    texts = [caplog.text, repr(journal.recipients)]

    for recipients, text in (
        (Recipients(tmp_path / "keys", other), sealed),
        (journal.recipients, sealed[:-1]),
    ):
        with pytest.raises(KeyMaterialError) as caught:
            recipients.open(today, text, b"")
        texts.append(said(caught.value))

    assert not any(shown(secret, text) for secret in secrets for text in texts)


def test_days_are_listed(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """Every day of which a half is there, in order; other files are not days."""
    days = [today + dt.timedelta(days=ahead) for ahead in range(DAYS_AHEAD)]
    for name in ("notes.key", "20260101.pub", "2026-01-01.key.bak"):
        (tmp_path / "days" / name).touch()
    (tmp_path / "days" / f"{days[0]}.pub").unlink()
    (tmp_path / "days" / f"{days[1]}.key").unlink()

    assert recipients.days() == days
    assert Recipients(tmp_path / "none", Held(b"")).days() == []


def test_a_shredded_day_is_gone(tmp_path: Path, recipients: Recipients, today: dt.date) -> None:
    """Neither half stays, nothing opens, not even for who opened it before; other days stay as they are."""
    tomorrow = today + dt.timedelta(days=1)
    sealed, later = (recipients.seal(day, b"secret", b"") for day in (today, tomorrow))
    recipients.open(today, sealed, b"")

    recipients.shred(today)
    recipients.shred(today)

    assert today not in recipients.days()
    assert not list((tmp_path / "days").glob(f"*{today}*"))
    with pytest.raises(KeyMaterialError, match=f"{today}.key: No such file"):
        recipients.open(today, sealed, b"")
    with pytest.raises(KeyMaterialError, match=f"no recipient key for {today}"):
        recipients.seal(today, b"secret", b"")
    assert recipients.open(tomorrow, later, b"") == b"secret"


@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_shredding_can_be_cut_anywhere(
    tmp_path: Path, recipients: Recipients, today: dt.date, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No public half is ever left without its private one, what is left is listed, and once more ends it."""
    power = Power(monkeypatch)
    public, private = (tmp_path / "days" / f"{today}.{half}" for half in ("pub", "key"))
    whole = {path: path.read_bytes() for path in (public, private)}

    for step in itertools.count():
        for path, data in whole.items():
            path.write_bytes(data)
        power.cut(step, form)
        try:
            recipients.shred(today)
        except PowerCutError:
            power.restore()
        else:
            break
        if public.exists():
            assert private.read_bytes() == whole[private]
        left = Recipients(tmp_path / "days", FileMasterKey(tmp_path / "none"))
        assert (today in left.days()) == (public.exists() or private.exists())
        left.shred(today)
        assert not public.exists()
        assert not private.exists()

    assert step == 13  # the lock, and six calls for each half
