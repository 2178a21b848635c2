"""A passphrase: the right one opens, whoever lacks it learns nothing, and an altered file costs nothing."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf import argon2
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from retention.errors import KeyMaterialError
from retention.keys import ARGON2, CHEAPEST, PassphraseMasterKey, passphrase
from retention.keys.wrapping import held
from tests.support.disk import Disk, flipped, put
from tests.support.keyring import PASSPHRASE, said, shown

pytestmark = pytest.mark.usefixtures("quick_sync")

NEW = "battery staple correct"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a key behind PASSPHRASE."""
    source(tmp_path / "master.passphrase").create(PASSPHRASE)
    return tmp_path / "master.passphrase"


def source(path: Path, words: str = PASSPHRASE) -> PassphraseMasterKey:
    """The key in the file *path*, as a process that knows *words* sees it."""
    return PassphraseMasterKey(path, lambda: words, CHEAPEST)


def test_a_key_is_made_once(path: Path) -> None:
    """32 bytes behind a file of mode 0600; a second creation is refused and changes nothing."""
    before = path.read_bytes()

    with pytest.raises(KeyMaterialError, match="exists already"):
        source(path).create(PASSPHRASE)

    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(source(path).read()) == 32
    assert source(path).read() == source(path).read()


def test_the_file_is_as_the_format_says(tmp_path: Path) -> None:
    """FORMAT.md 4.2, with the real cost: anybody with Argon2id, AES-KW and the passphrase gets the key."""
    made = PassphraseMasterKey(tmp_path / "real", lambda: PASSPHRASE)
    made.create(PASSPHRASE)

    text = (tmp_path / "real").read_text()
    file = json.loads(text)
    derived = argon2.Argon2id(
        salt=bytes.fromhex(file["salt"]), length=32, iterations=3, lanes=4, memory_cost=262_144
    ).derive(PASSPHRASE.encode())

    assert text == (
        f'{{"format":1,"salt":"{file["salt"]}","iterations":3,"lanes":4,"memory_kib":262144,'
        f'"wrapped":"{file["wrapped"]}"}}'
    )
    assert (len(file["salt"]), len(file["wrapped"])) == (32, 80)
    assert aes_key_unwrap(derived, bytes.fromhex(file["wrapped"])) == made.read()
    assert (ARGON2.iterations, ARGON2.lanes, ARGON2.memory_kib) == (3, 4, 262_144)


@pytest.mark.parametrize("words", [PASSPHRASE + "\n", PASSPHRASE], ids=["line", "bare"])
def test_a_line_feed_at_the_end_does_not_count(path: Path, words: str) -> None:
    """A file with one line and a prompt give the same passphrase."""
    assert source(path, words).read() == source(path).read()


@pytest.mark.parametrize(
    "words",
    ["", "correct horse batter", PASSPHRASE + " ", PASSPHRASE + "\n\n", PASSPHRASE.title(), "\udcff" * 12],
    ids=["none", "shorter", "longer", "lines", "case", "no-text"],
)
def test_a_wrong_passphrase_is_refused(path: Path, words: str) -> None:
    """It opens nothing; neither the words nor the key are in the message."""
    with pytest.raises(KeyMaterialError, match=r"does not open it|expected UTF-8") as caught:
        source(path, words).read()

    text = said(caught.value)
    assert not words.strip() or words not in text
    assert not shown(source(path).read(), text)


@pytest.mark.parametrize("words", ["", "short words", "short words\n", "สั้นเกินไป"], ids=len)
def test_a_short_passphrase_is_refused(tmp_path: Path, path: Path, words: str) -> None:
    """Fewer than twelve characters protect nothing, at making and at changing; nothing is written."""
    before = path.read_bytes()

    with pytest.raises(KeyMaterialError, match="expected at least 12 characters, found") as caught:
        source(tmp_path / "new").create(words)
    with pytest.raises(KeyMaterialError, match="expected at least 12 characters, found"):
        source(path).change(words)

    assert not (tmp_path / "new").exists()
    assert path.read_bytes() == before
    assert not words or words not in str(caught.value)


def test_twelve_characters_are_enough(tmp_path: Path) -> None:
    """Characters are counted, not bytes; any script will do."""
    words = "รหัสผ่านยาวๆ"
    source(tmp_path / "thai").create(words)

    assert len(words) == 12
    assert len(source(tmp_path / "thai", words).read()) == 32


def test_every_flipped_byte_is_refused(path: Path) -> None:
    """Whatever is altered, cost and salt included, the key does not come out, and in words."""
    whole = path.read_bytes()

    for at in range(len(whole)):
        for mask in (0x01, 0x20, 0xFF):
            put(path, flipped(whole, at, mask))
            with pytest.raises(KeyMaterialError, match=r"master\.passphrase"):
                source(path).read()

    put(path, whole)
    assert len(source(path).read()) == 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("iterations", 0),
        ("iterations", 2),
        ("iterations", 65),
        ("lanes", 0),
        ("lanes", 2),
        ("memory_kib", 7),
        ("memory_kib", 16),
        ("memory_kib", 2**40),
        ("memory_kib", "8"),
        ("salt", "00" * 16),
        ("salt", ""),
        ("wrapped", "00" * 40),
        ("wrapped", "00" * 24),
        ("later", 1),
    ],
)
def test_an_altered_cost_is_refused(path: Path, name: str, value: object) -> None:
    """Another cost gives another key; one out of bounds is not even tried; a newer file is not guessed at."""
    file: dict[str, Any] = json.loads(path.read_bytes())
    path.write_text(json.dumps(file | {name: value}))

    with pytest.raises(KeyMaterialError, match=r"not a passphrase file of format 1|does not open|Argon2id"):
        source(path).read()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"applog-master-key-1 AAAA"], ids=len)
def test_what_is_no_passphrase_file_is_refused(path: Path, content: bytes) -> None:
    """Any other content is said to be that, before anybody is asked."""
    path.write_bytes(content)

    with pytest.raises(KeyMaterialError, match="not a passphrase file of format 1"):
        PassphraseMasterKey(path, asked_too_much).read()


def asked_too_much() -> str:
    """Nobody may be asked."""
    raise AssertionError


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path that was expected is in the message."""
    with pytest.raises(KeyMaterialError, match="gone: No such file"):
        PassphraseMasterKey(tmp_path / "gone", asked_too_much).read()


def test_too_little_memory_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a quarter of a gibibyte to spare gets words with the cost."""

    class Starved:
        def __init__(self, **_: object) -> None:
            pass

        def derive(self, _: bytes) -> bytes:
            raise MemoryError

    monkeypatch.setattr(passphrase, "Argon2id", Starved)

    with pytest.raises(KeyMaterialError, match=r"Argon2id with .*memory_kib=8"):
        source(path).read()


def counted(words: str) -> tuple[list[str], Callable[[], str]]:
    """An asker, and what it was asked."""
    asked: list[str] = []

    def ask() -> str:
        asked.append(words)
        time.sleep(0.02)  # others come meanwhile
        return words

    return asked, ask


def test_one_process_asks_once(path: Path) -> None:
    """However often and by however many threads the key is read, one passphrase and one derivation do."""
    asked, ask = counted(PASSPHRASE)
    key = PassphraseMasterKey(path, ask, CHEAPEST)
    threads = [threading.Thread(target=key.read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert key.read() == next(key.candidates())
    assert asked == [PASSPHRASE]


def test_a_changed_file_is_opened_anew(path: Path) -> None:
    """A process that holds the key of the file before does not go on with it: the file is what counts."""
    asked, ask = counted(PASSPHRASE)
    key = PassphraseMasterKey(path, ask, CHEAPEST)
    before = key.read()
    path.unlink()
    source(path).create(PASSPHRASE)

    assert key.read() == source(path).read() != before
    assert len(asked) == 2


def test_the_passphrase_can_be_changed(path: Path) -> None:
    """The same key behind the new words, with a new salt; the old words open it no more."""
    before, salt = source(path).read(), json.loads(path.read_bytes())["salt"]
    key = source(path)

    key.change(NEW)

    assert key.read() == before
    assert source(path, NEW).read() == before
    assert json.loads(path.read_bytes())["salt"] != salt
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyMaterialError, match="does not open"):
        source(path).read()


def test_a_change_needs_the_present_passphrase(path: Path) -> None:
    """Who does not know the words cannot change them; the file stays as it is."""
    before = path.read_bytes()

    with pytest.raises(KeyMaterialError, match="does not open"):
        source(path, NEW).change(NEW)

    assert path.read_bytes() == before


@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_a_change_can_fail_anywhere(tmp_path: Path, path: Path, disk: Disk, form: str) -> None:
    """Whichever call to the disk fails, the old or the new passphrase opens the same key."""
    before, whole = source(path).read(), path.read_bytes()
    source(path).change(NEW)
    disk.calls.clear()
    source(path, NEW).change(PASSPHRASE)

    for step in range(len(disk.calls)):
        path.write_bytes(whole)
        disk.fail(step, form, times=1)
        with pytest.raises(OSError, match="Input/output"):
            source(path).change(NEW)
        disk.repair()

        opened = []
        for words in (PASSPHRASE, NEW):
            try:
                opened.append(source(path, words).read())
            except KeyMaterialError:
                continue
        assert opened == [before]
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] or form == "persisted"  # noqa: PTH208


def test_a_change_waits_for_a_rotation(tmp_path: Path, path: Path) -> None:
    """A key that is exchanged meanwhile is the one behind the new words: the old one would open nothing."""
    asked, ask = counted(PASSPHRASE)
    change = threading.Thread(target=PassphraseMasterKey(path, ask, CHEAPEST).change, args=(NEW,))

    with held(tmp_path / "journal"):
        change.start()
        while not asked:
            time.sleep(0.001)
        time.sleep(0.1)
        path.unlink()
        source(path).create(PASSPHRASE)
        exchanged = source(path).read()
    change.join()

    assert source(path, NEW).read() == exchanged


def test_no_change_during_a_rotation(path: Path) -> None:
    """One passphrase must be enough to finish a rotation, so it stays until then."""
    path.with_name("master.passphrase.next").touch()

    with pytest.raises(KeyMaterialError, match="rotation of the master key is unfinished"):
        source(path).change(NEW)

    assert len(source(path).read()) == 32
