"""The master key: one place for each store, a file or credential that nobody else can read, never shown."""

import base64
import os
import re
from pathlib import Path

import pytest

from retention.errors import KeyMaterialError
from retention.keys import CHEAPEST, CredentialMasterKey, FileMasterKey, PassphraseMasterKey, find_master
from retention.keys.master import PASSPHRASE_FILE
from tests.support.keyring import PASSPHRASE, master_of, said, shown

pytestmark = pytest.mark.usefixtures("quick_sync")


def never() -> str:
    """Nobody may be asked."""
    raise AssertionError


def passphrase_key(path: Path) -> PassphraseMasterKey:
    """A new master key behind the passphrase."""
    made = PassphraseMasterKey(path, never, CHEAPEST)
    made.create(PASSPHRASE)
    return made


@pytest.fixture
def credential(tmp_path: Path) -> CredentialMasterKey:
    """A master key as systemd gives it to a service."""
    FileMasterKey(tmp_path / "applog-master-key").create()
    (tmp_path / "applog-master-key").chmod(0o440)
    return CredentialMasterKey(tmp_path)


def test_a_master_key_is_made_once(keys: Path, master: FileMasterKey) -> None:
    """32 random bytes in a file of mode 0600; a second creation is refused and changes nothing."""
    before = (keys / "master.key").read_bytes()

    with pytest.raises(KeyMaterialError, match="exists already"):
        master.create()

    assert len(master.read()) == 32
    assert (keys / "master.key").read_bytes() == before
    assert (keys / "master.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_an_open_master_key_is_refused(keys: Path, master: FileMasterKey, mode: int) -> None:
    """Any right for group or others is refused; the message says which mode was found."""
    (keys / "master.key").chmod(mode)

    with pytest.raises(KeyMaterialError, match=f"expected mode 0600, found {mode:04o}"):
        master.read()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"applog-master-key-1 ",
        b"applog-master-key-1 !!!!",
        b"applog-master-key-1 " + base64.b64encode(bytes(31)),
        b"applog-master-key-1 " + base64.b64encode(bytes(33)),
        b"applog-master-key-2 " + base64.b64encode(bytes(32)),
        base64.b64encode(bytes(32)),
        bytes(32),
    ],
    ids=["empty", "no-key", "no-base64", "short", "long", "newer", "bare", "raw"],
)
def test_a_file_that_is_no_key_is_refused(keys: Path, master: FileMasterKey, text: bytes) -> None:
    """Anything but a whole key file of this format is refused; its content is not shown."""
    (keys / "master.key").write_bytes(text)

    with pytest.raises(KeyMaterialError, match="not a key file of format applog-master-key-1"):
        master.read()


def test_a_missing_master_key_is_named(tmp_path: Path) -> None:
    """The path that was expected is in the message, and the hint says where a copy may be."""
    with pytest.raises(KeyMaterialError, match=r"gone\.key: No such file") as caught:
        FileMasterKey(tmp_path / "gone.key").read()

    assert "back-up" in caught.value.hint


def test_a_credential_is_read(tmp_path: Path, credential: CredentialMasterKey) -> None:
    """The text of ``master.key``, under systemd's name and with its modes, is the key."""
    encoded = (tmp_path / "applog-master-key").read_bytes().split()[1]

    assert credential.read() == base64.b64decode(encoded)


@pytest.mark.parametrize("mode", [0o444, 0o404, 0o441, 0o442])
def test_an_open_credential_is_refused(tmp_path: Path, credential: CredentialMasterKey, mode: int) -> None:
    """Rights for others are refused; group rights are systemd's own way."""
    (tmp_path / "applog-master-key").chmod(mode)

    with pytest.raises(KeyMaterialError, match=f"expected no rights for others, found mode {mode:04o}"):
        credential.read()


def test_a_broken_credential_is_refused(tmp_path: Path, credential: CredentialMasterKey) -> None:
    """A missing one is named, and so is one of another format."""
    (tmp_path / "applog-master-key").chmod(0o600)
    (tmp_path / "applog-master-key").write_bytes(b"raw bytes")

    with pytest.raises(KeyMaterialError, match="not a key file of format applog-master-key-1"):
        credential.read()
    with pytest.raises(KeyMaterialError, match=r"gone/applog-master-key: No such file"):
        CredentialMasterKey(tmp_path / "gone").read()


@pytest.mark.parametrize("kind", ["file", "passphrase", "credential"])
def test_the_stores_key_is_found(tmp_path: Path, kind: str) -> None:
    """Whichever of the three is there is the one; its place can be named, its key is read from there."""
    made = {
        "file": FileMasterKey(tmp_path / "master.key"),
        "passphrase": PassphraseMasterKey(tmp_path / "master.passphrase", lambda: PASSPHRASE, CHEAPEST),
        "credential": CredentialMasterKey(tmp_path / "systemd"),
    }[kind]
    (tmp_path / "systemd").mkdir()
    if isinstance(made, PassphraseMasterKey):
        made.create(PASSPHRASE)
    else:
        FileMasterKey(made.path).create()

    found = find_master(
        tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}, lambda: PASSPHRASE, CHEAPEST
    )

    assert found.read() == made.read()
    assert list(found.candidates()) == [made.read()]
    assert str(found) == str(made) == str(made.path)


def test_a_store_without_master_key_is_refused(tmp_path: Path) -> None:
    """None of the three: all places that were looked at are named, with or without systemd's directory."""
    for environ in ({}, {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}):
        with pytest.raises(KeyMaterialError, match="no master key: expected") as caught:
            find_master(tmp_path, environ, never)

        for place in ("master.key", "master.passphrase", "applog-master-key"):
            assert place in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("master.key", "master.passphrase"),
        ("master.key", "systemd/applog-master-key"),
        ("master.passphrase", "systemd/applog-master-key"),
        ("master.key.next", "master.passphrase.next"),
    ],
    ids=" ".join,
)
def test_two_master_keys_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    """Nobody guesses which of two keys is the store's: both are named."""
    (tmp_path / "systemd").mkdir()
    for name in names:
        FileMasterKey(tmp_path / name).create()

    with pytest.raises(KeyMaterialError, match="mixed up") as caught:
        find_master(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}, never)

    assert all(str(tmp_path / name) in str(caught.value) for name in names)


@pytest.mark.parametrize("ending", ["", "\n"], ids=["bare", "line"])
def test_a_passphrase_comes_from_the_named_file(tmp_path: Path, ending: str) -> None:
    """With APPLOG_PASSPHRASE_FILE nobody is asked; one line feed at its end does not count."""
    made = passphrase_key(tmp_path / "master.passphrase")
    (tmp_path / "words").write_text(PASSPHRASE + ending)
    (tmp_path / "words").chmod(0o600)

    found = find_master(tmp_path, {PASSPHRASE_FILE: str(tmp_path / "words")}, never)

    assert found.read() == made.read()


def test_a_passphrase_file_that_does_not_do_is_refused(tmp_path: Path) -> None:
    """Missing, open to others, or not text: each in its own words, which show nothing of it."""
    passphrase_key(tmp_path / "master.passphrase")
    words = tmp_path / "words"
    found = find_master(tmp_path, {PASSPHRASE_FILE: str(words)}, never)

    with pytest.raises(KeyMaterialError, match=r"passphrase file .*words: No such file"):
        found.read()
    words.write_bytes(b"secret words \xff")
    words.chmod(0o604)
    with pytest.raises(KeyMaterialError, match="words: expected no rights for others, found mode 0604"):
        found.read()
    words.chmod(0o600)
    with pytest.raises(KeyMaterialError, match="passphrase: expected UTF-8") as caught:
        found.read()
    assert "secret words" not in said(caught.value)


def test_an_unreadable_directory_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not look into ``keys/`` gets words, not the system's exception."""

    def refused(*_: object, **__: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refused)
        with pytest.raises(KeyMaterialError, match=r"master\.key: Permission denied"):
            find_master(tmp_path, {}, never)


def test_both_keys_count_while_a_rotation_is_unfinished(keys: Path, master: FileMasterKey) -> None:
    """The new key first, which new files are wrapped under, then the old one."""
    coming = FileMasterKey(keys / "master.key.next")
    coming.create()

    assert list(master_of(keys).candidates()) == [coming.read(), master.read()]
    assert master_of(keys).read() == coming.read()


def test_what_cannot_be_read_during_a_rotation_is_left_out(keys: Path, master: FileMasterKey) -> None:
    """One readable key of the two is enough; with none, the words are those of the new one."""
    (keys / "master.key.next").write_bytes(b"garbage")
    (keys / "master.key.next").chmod(0o600)
    assert list(master_of(keys).candidates()) == [master.read()]

    (keys / "master.key").write_bytes(b"garbage")

    with pytest.raises(KeyMaterialError, match=re.escape(f"{keys / 'master.key.next'}: not a key file")):
        master_of(keys).read()


def test_the_new_key_alone_is_enough(keys: Path) -> None:
    """At the very end of a rotation only ``.next`` is there: it is the store's key."""
    (keys / "master.key").rename(keys / "master.key.next")

    found = find_master(keys, {}, never)

    assert found.read() == FileMasterKey(keys / "master.key.next").read()
    assert str(found).endswith("master.key.next")


def test_no_key_is_shown(keys: Path, master: FileMasterKey, credential: CredentialMasterKey) -> None:
    """Neither ``str`` nor ``repr`` of a source shows what it gives."""
    sources = [master, credential, passphrase_key(keys / "other"), master_of(keys)]

    for source in sources:
        assert not shown(source.read(), f"{source} {source!r} {vars(source).get('path')!r}")
