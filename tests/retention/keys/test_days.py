"""Keys of sealed days: made once, opened only whole, and destroyed for ever."""

import datetime as dt
import itertools
import shutil
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from retention.errors import KeyMaterialError, VaultDamagedError
from retention.keys import DayKey, DayKeys, FileMasterKey
from retention.vault import VaultFile, encrypt
from tests.support.disk import Disk, flipped, put
from tests.support.keyring import Held, said, shown
from tests.support.power import Power, PowerCutError

pytestmark = pytest.mark.usefixtures("quick_sync")


@pytest.fixture
def days(keys: Path, master: FileMasterKey) -> DayKeys:
    """No keys yet."""
    return DayKeys(keys / "day", master)


def parts(key: DayKey) -> tuple[bytes, bytes]:
    """The two secrets."""
    return key.key, key.vrf.seed


def test_a_key_is_made_once(keys: Path, days: DayKeys, today: dt.date) -> None:
    """Making gives a new pair of secrets, then for ever the same; every (dataset, day) has others."""
    made = [days.make(name, day) for name in ("flow", "dns") for day in (today, today - dt.timedelta(days=1))]

    again = DayKeys(keys / "day", FileMasterKey(keys / "master.key")).make("flow", today)

    assert parts(again) == parts(made[0]) == parts(days.open("flow", today))
    assert len({secret for key in made for secret in parts(key)}) == 8
    assert {len(secret) for key in made for secret in parts(key)} == {32}


def test_the_file_is_as_the_format_says(
    keys: Path, days: DayKeys, master: FileMasterKey, today: dt.date
) -> None:
    """72 bytes, both secrets wrapped together, for the owner alone (FORMAT.md 4)."""
    made = days.make("flow", today)

    path = keys / "day" / "flow" / f"{today}.key"
    assert path.stat().st_size == 72
    assert aes_key_unwrap(master.read(), path.read_bytes()) == made.key + made.vrf.seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert {one.stat().st_mode & 0o777 for one in (keys / "day", keys / "day" / "flow")} == {0o700}
    assert (keys / "journal" / "lock").stat().st_mode & 0o777 == 0o600


def test_makers_at_once_agree(keys: Path, master: FileMasterKey, today: dt.date) -> None:
    """Two processes that seal the same day end with one key."""
    found: list[tuple[bytes, bytes]] = []

    def make() -> None:
        found.append(parts(DayKeys(keys / "day", master).make("flow", today)))

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 1


def test_keys_are_listed(keys: Path, days: DayKeys, today: dt.date) -> None:
    """Every (dataset, day) with a file, in order; nothing else counts."""
    yesterday = today - dt.timedelta(days=1)
    assert days.listed() == []
    for name, day in (("flow", today), ("dns", today), ("flow", yesterday)):
        days.make(name, day)
    for name in ("notes.key", "20260301.key", f".{today}.key.7.tmp"):
        (keys / "day" / "flow" / name).touch()

    assert days.listed() == [("dns", today), ("flow", yesterday), ("flow", today)]
    assert days.has("dns", today)
    assert not days.has("dns", yesterday)


def test_a_lost_key_is_named(days: DayKeys, today: dt.date) -> None:
    """What is not there is not opened, nor made in silence."""
    with pytest.raises(KeyMaterialError, match=rf"flow/{today}\.key: No such file"):
        days.open("flow", today)

    assert not days.has("flow", today)


def test_a_key_made_again_is_another(keys: Path, days: DayKeys, today: dt.date) -> None:
    """A key that was lost and made again opens nothing of before; its VRF key is not the ledger's."""
    before = days.make("flow", today)
    (keys / "day" / "flow" / f"{today}.key").unlink()

    after = days.make("flow", today)

    assert after.key != before.key
    assert after.vrf.public != before.vrf.public


def test_a_key_in_anothers_place_is_noticed(
    tmp_path: Path, keys: Path, days: DayKeys, today: dt.date
) -> None:
    """It unwraps, for the wrapping names no place; but no file opens with it; its VRF key is another."""
    flow, dns = days.make("flow", today), days.make("dns", today)
    about = b"applog-segment-1 dns"
    (tmp_path / "segment").write_bytes(b"".join(encrypt(dns.key, about, b"rows")))
    shutil.copy(keys / "day" / "flow" / f"{today}.key", keys / "day" / "dns" / f"{today}.key")

    misplaced = days.open("dns", today)

    assert parts(misplaced) == parts(flow)
    assert misplaced.vrf.public != dns.vrf.public
    with pytest.raises(VaultDamagedError):
        VaultFile(tmp_path / "segment", misplaced.key, about)


def test_every_flipped_byte_is_refused(keys: Path, days: DayKeys, today: dt.date) -> None:
    """An altered byte anywhere gives no key at all, and making does not replace it."""
    made = days.make("flow", today)
    path = keys / "day" / "flow" / f"{today}.key"
    whole = path.read_bytes()

    for at in range(len(whole)):
        put(path, flipped(whole, at))
        with pytest.raises(KeyMaterialError, match=rf"flow/{today}\.key: the master key does not open it"):
            days.open("flow", today)
        with pytest.raises(KeyMaterialError):
            days.make("flow", today)

    put(path, whole)
    assert parts(days.make("flow", today)) == parts(made)


@pytest.mark.parametrize("size", [0, 40, 71, 73, 80])
def test_another_size_is_refused(keys: Path, days: DayKeys, today: dt.date, size: int) -> None:
    """A cut file, or a key of another sort in its place, is refused by its size."""
    days.make("flow", today)
    path = keys / "day" / "flow" / f"{today}.key"
    put(path, (path.read_bytes() + bytes(8))[:size])

    with pytest.raises(KeyMaterialError, match=f"expected 72 bytes, found {size}"):
        days.open("flow", today)


@pytest.mark.parametrize("name", ["", ".", "..", "../flow", "a/b", ".hidden", "a\0b", "flow\n"])
def test_only_names_of_datasets_are_paths(days: DayKeys, today: dt.date, name: str) -> None:
    """A name from a file never leads out of the directory."""
    for call in (days.make, days.open, days.has, days.shred):
        with pytest.raises(KeyMaterialError, match="expected a dataset's name"):
            call(name, today)


def test_a_shredded_key_is_gone(keys: Path, days: DayKeys, today: dt.date) -> None:
    """Its file goes, nothing opens, others stay; once more, or of a day that never was, is no error."""
    days.make("flow", today)
    kept = days.make("dns", today)

    days.shred("flow", today)
    days.shred("flow", today)
    days.shred("never", today)

    assert days.listed() == [("dns", today)]
    assert not list((keys / "day" / "flow").iterdir())
    assert parts(days.open("dns", today)) == parts(kept)
    with pytest.raises(KeyMaterialError, match="No such file"):
        days.open("flow", today)


@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_making_can_be_cut_anywhere(
    keys: Path, master: FileMasterKey, today: dt.date, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call is the last: no key is there, or a whole one; making again gives one that stays."""
    power = Power(monkeypatch)

    for step in itertools.count():
        shutil.rmtree(keys / "day", ignore_errors=True)
        days = DayKeys(keys / "day", master)
        power.cut(step, form)
        try:
            days.make("flow", today)
        except PowerCutError:
            power.restore()
        else:
            break
        left = parts(days.open("flow", today)) if days.has("flow", today) else None
        made = parts(days.make("flow", today))
        assert left in (None, made)
        assert parts(days.open("flow", today)) == made

    assert step > 10


@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_making_can_fail_anywhere(
    keys: Path, master: FileMasterKey, today: dt.date, form: str, disk: Disk
) -> None:
    """A failing call to the disk comes out; no key is given that is not on the disk, and again makes one."""
    DayKeys(keys / "day", master).make("flow", today)

    for step in range(len(disk.calls)):
        shutil.rmtree(keys / "day")
        (keys / "journal" / "lock").unlink(missing_ok=True)
        days = DayKeys(keys / "day", master)
        disk.fail(step, form, times=1)
        try:
            days.make("flow", today)
        except OSError:
            disk.repair()
        disk.repair()
        assert parts(days.make("flow", today)) == parts(days.open("flow", today))


def test_no_key_is_shown(
    keys: Path, days: DayKeys, master: FileMasterKey, other: Held, today: dt.date
) -> None:
    """Neither ``repr`` nor an error shows the day key, the VRF secret or the master key."""
    made = days.make("flow", today)

    with pytest.raises(KeyMaterialError) as caught:
        DayKeys(keys / "day", other).open("flow", today)

    text = f"{made} {made!r} {made.vrf!r} {days!r} {said(caught.value)}"
    for secret in (*parts(made), master.read(), other.read()):
        assert not shown(secret, text)
