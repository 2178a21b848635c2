"""Rotation of the master key: at every moment everything opens, and at the end only with the new key."""

import datetime as dt
import itertools
import shutil
import threading
from pathlib import Path

import pytest

from retention.errors import KeyMaterialError
from retention.keys import (
    CHEAPEST,
    DayKeys,
    FileMasterKey,
    PassphraseMasterKey,
    Recipients,
    StoreMasterKey,
    check,
    find_master,
    finish_rotation,
    rotate_master,
)
from retention.keys.wrapping import opened, wrapped_files
from tests.support.disk import Disk, flipped, put
from tests.support.keyring import DAY, PASSPHRASE, STORE, make_keys, master_of, said, secrets, shown
from tests.support.power import Power, PowerCutError

pytestmark = pytest.mark.usefixtures("quick_sync")

WAYS = [
    ("file", None),
    ("file", PASSPHRASE),
    ("passphrase", None),
    ("passphrase", PASSPHRASE),
]
"""Where the key was, and what the new one gets."""

ways = pytest.mark.parametrize(
    ("kind", "passphrase"), WAYS, ids=lambda one: "file" if one is None else one[:10]
)


def find(directory: Path) -> StoreMasterKey:
    """As a new process finds it."""
    return find_master(directory, {}, lambda: PASSPHRASE, CHEAPEST)


def nothing_opens(directory: Path, key: bytes) -> bool:
    """Whether the master key *key* is worth nothing here any more."""
    return all(opened(path.read_bytes(), key) is None for path in wrapped_files(directory))


def no_trace(directory: Path) -> bool:
    """Whether neither a second master key nor a half-written file is left."""
    names = {path.name for path in directory.rglob("*")}
    return (
        not any(".next" in name or name.endswith(".tmp") for name in names)
        and len(names & {"master.key", "master.passphrase"}) == 1
    )


@ways
def test_everything_lies_under_the_new_key(
    tmp_path: Path, kind: str, passphrase: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every secret is the same, behind a new key, where it was asked for; the old one opens nothing."""
    keys = tmp_path / "keys"
    make_keys(keys, kind, monkeypatch)
    old, before = find(keys).read(), secrets(keys, find(keys))
    sealed = Recipients(keys / "journal", find(keys)).seal(DAY, b"secret", b"")

    rotate_master(find(keys), passphrase)

    new = find(keys)
    assert secrets(keys, new) == before
    assert new.read() != old
    assert nothing_opens(keys, old)
    assert no_trace(keys)
    assert (keys / ("master.key" if passphrase is None else "master.passphrase")).exists()
    assert Recipients(keys / "journal", new).open(DAY, sealed, b"") == b"secret"
    check(keys, new, STORE)
    assert {path.stat().st_mode & 0o777 for path in wrapped_files(keys)} == {0o600}


@ways
@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_the_power_may_fail_at_any_call(
    tmp_path: Path, kind: str, passphrase: str | None, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each cut everything opens and keys can be made; finishing leaves only the new key."""
    make_keys(tmp_path / "whole", kind, monkeypatch)
    old, before = find(tmp_path / "whole").read(), secrets(tmp_path / "whole", find(tmp_path / "whole"))
    keys = tmp_path / "keys"
    power = Power(monkeypatch)
    finished = 0

    for step in itertools.count():
        shutil.rmtree(keys, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", keys)
        master = find(keys)
        power.cut(step, form)
        try:
            rotate_master(master, passphrase)
        except PowerCutError:
            power.restore()
        else:
            break
        started = find(keys)
        assert secrets(keys, started) == before
        check(keys, started, STORE)
        made = DayKeys(keys / "day", started).make("dns", DAY)
        if finish_rotation(started):
            finished += 1
        else:  # not yet begun, or just done
            rotate_master(find(keys), passphrase)

        again = find(keys)
        assert {name: one for name, one in secrets(keys, again).items() if "dns" not in name} == before
        assert DayKeys(keys / "day", again).open("dns", DAY).key == made.key
        assert nothing_opens(keys, old)
        assert no_trace(keys)
        assert not finish_rotation(again)

    power.restore()
    assert (
        step == 46
    )  # the lock; six calls each for the new key and five files; six to shred; three to rename
    assert finished >= 36


@pytest.mark.parametrize(("kind", "passphrase"), [WAYS[0], WAYS[3]], ids=["file", "passphrase"])
@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_any_call_may_fail(
    tmp_path: Path, kind: str, passphrase: str | None, form: str, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes out, everything opens, also for who found the key before; once more ends it."""
    make_keys(tmp_path / "whole", kind, monkeypatch)
    old, before = find(tmp_path / "whole").read(), secrets(tmp_path / "whole", find(tmp_path / "whole"))
    keys = tmp_path / "keys"
    shutil.copytree(tmp_path / "whole", keys)
    disk.calls.clear()
    rotate_master(find(keys), passphrase)

    for step in range(len(disk.calls)):
        shutil.rmtree(keys)
        shutil.copytree(tmp_path / "whole", keys)
        master = find(keys)
        disk.fail(step, form, times=1)
        with pytest.raises(OSError, match="Input/output"):
            rotate_master(master, passphrase)
        disk.repair()
        assert secrets(keys, master) == before
        assert secrets(keys, find(keys)) == before

        rotate_master(find(keys), passphrase)
        assert secrets(keys, master) == secrets(keys, find(keys)) == before
        assert nothing_opens(keys, old)
        assert no_trace(keys)


def test_a_cut_in_finishing_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cut after the other, each a few calls further on: it ends, and nothing is lost on the way."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    old, before = find(keys).read(), secrets(keys, find(keys))
    power = Power(monkeypatch)
    power.cut(20, "persisted")
    with pytest.raises(PowerCutError):
        rotate_master(find(keys))

    for step in itertools.count(1):
        power.restore()
        assert secrets(keys, find(keys)) == before
        power.cut(step, "persisted")
        try:
            finish_rotation(find(keys))
        except PowerCutError:
            continue
        break

    power.restore()
    assert secrets(keys, find(keys)) == before
    assert nothing_opens(keys, old)
    assert no_trace(keys)


def test_finishing_without_a_rotation_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an ordinary start no byte changes, and nobody is asked for a passphrase."""
    keys = tmp_path / "keys"
    make_keys(keys, "passphrase", monkeypatch)
    before = {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}

    def asked() -> str:
        raise AssertionError

    assert not finish_rotation(find_master(keys, {}, asked))
    assert before == {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}


def test_the_next_rotation_finishes_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun for a file, cut, and begun again for a passphrase: both are done, in order."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    old, before = find(keys).read(), secrets(keys, find(keys))
    coming = FileMasterKey(keys / "master.key.next")
    coming.create()
    middle = coming.read()

    rotate_master(find(keys), PASSPHRASE)

    assert secrets(keys, find(keys)) == before
    assert nothing_opens(keys, old)
    assert nothing_opens(keys, middle)
    assert {path.name for path in keys.glob("master.*")} == {"master.passphrase", "master.check"}


def test_a_key_that_does_not_open_stops_it_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte of every wrapped file: altered, it is named before a new master key is even made."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)

    for path in wrapped_files(keys):
        whole = path.read_bytes()
        for at in range(len(whole)):
            put(path, flipped(whole, at))
            with pytest.raises(KeyMaterialError, match=f"{path.name}: the master key does not open it"):
                rotate_master(find(keys))
        put(path, whole)

    assert no_trace(keys)


def test_damage_during_it_keeps_both_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that opens with neither key stops finishing; no key is taken away while it is there."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    before = secrets(keys, find(keys))
    FileMasterKey(keys / "master.key.next").create()
    damaged = wrapped_files(keys)[2]
    whole = damaged.read_bytes()
    put(damaged, flipped(whole, 3))

    with pytest.raises(KeyMaterialError, match=f"{damaged.name}: the master key does not open it"):
        finish_rotation(find(keys))

    assert (keys / "master.key").exists()
    put(damaged, whole)
    assert finish_rotation(find(keys))
    assert secrets(keys, find(keys)) == before


def test_left_over_copies_are_shredded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a key in a temporary file would outlive its original: finishing takes it away."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    copies = [
        keys / "journal" / f".{DAY}.key.77.tmp",
        keys / "day" / "flow" / f".{DAY}.key.77.tmp",
        keys / "signing" / ".00000000.key.77.tmp",
        keys / ".master.check.77.tmp",
    ]
    others = keys / "signing" / ".last-signed.77.tmp"
    for path in [*copies, others]:
        path.write_bytes(bytes(40))

    rotate_master(find(keys))

    assert [path for path in copies if path.exists()] == []
    assert others.exists()


@ways
def test_the_old_key_is_overwritten(
    tmp_path: Path, kind: str, passphrase: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old copies of wrapped keys stay on the disk; the key they lie under goes, as far as that reaches."""
    keys = tmp_path / "keys"
    make_keys(keys, kind, monkeypatch)
    place = find(keys).current()
    assert place is not None
    old = place.path.read_bytes()
    (tmp_path / "blocks").hardlink_to(place.path)

    rotate_master(find(keys), passphrase)

    blocks = (tmp_path / "blocks").read_bytes()
    assert sum(one == two for one, two in zip(old, blocks, strict=True)) < len(old) / 4


def test_a_passphrase_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another passphrase than the present one is refused: finishing could then need two. Nothing changes."""
    keys = tmp_path / "keys"
    make_keys(keys, "passphrase", monkeypatch)
    before = find(keys).read()

    with pytest.raises(KeyMaterialError, match=r"master\.passphrase: the passphrase does not open it"):
        rotate_master(find(keys), "another passphrase")

    assert find(keys).read() == before
    assert no_trace(keys)


def test_a_short_passphrase_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything changes."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)

    with pytest.raises(KeyMaterialError, match="at least 12 characters"):
        rotate_master(find(keys), "short")

    assert no_trace(keys)


def test_rotate_then_change_the_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do when a passphrase got about: neither the old words nor the old file open anything."""
    keys = tmp_path / "keys"
    make_keys(keys, "passphrase", monkeypatch)
    before = secrets(keys, find(keys))
    stolen = (keys / "master.passphrase").read_bytes()

    rotate_master(find(keys), PASSPHRASE)
    PassphraseMasterKey(keys / "master.passphrase", lambda: PASSPHRASE, CHEAPEST).change("quite other words")

    assert secrets(keys, master_of(keys, "quite other words")) == before
    with pytest.raises(KeyMaterialError, match="the passphrase does not open"):
        find(keys).read()
    put(tmp_path / "stolen", stolen)
    key = PassphraseMasterKey(tmp_path / "stolen", lambda: PASSPHRASE, CHEAPEST).read()
    assert nothing_opens(keys, key)


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_credential_is_systemds_to_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    """It is refused with the way that works, and the credential's file is not touched."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    (tmp_path / "systemd").mkdir()
    credential = (keys / "master.key").rename(tmp_path / "systemd" / "applog-master-key")
    text = credential.read_bytes()
    if begun:
        FileMasterKey(keys / "master.key.next").create()
    master = StoreMasterKey(keys, {"CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}, str, CHEAPEST)

    for call in (rotate_master, finish_rotation) if begun else (rotate_master,):
        with pytest.raises(KeyMaterialError, match="systemd credential, which only systemd replaces"):
            call(master)

    assert credential.read_bytes() == text
    assert (keys / "master.key.next").exists() == begun


@ways
def test_a_running_process_goes_on(
    tmp_path: Path, kind: str, passphrase: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that opened the store before finds the key where it is now, and makes keys under it."""
    keys = tmp_path / "keys"
    make_keys(keys, kind, monkeypatch)
    running = find(keys)
    days = DayKeys(keys / "day", running)
    before = days.open("flow", DAY).key

    rotate_master(find(keys), passphrase)
    made = days.make("dns", DAY).key

    assert days.open("flow", DAY).key == before
    assert DayKeys(keys / "day", find(keys)).open("dns", DAY).key == made


def test_makers_during_a_rotation_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that other processes make meanwhile open afterwards, every one."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    made: dict[dt.date, bytes] = {}
    stop = threading.Event()

    def make(first: int) -> None:
        days = DayKeys(keys / "day", find(keys))
        for ahead in range(first, 400, 3):
            day = DAY + dt.timedelta(days=ahead)
            made[day] = days.make("flow", day).key
            if stop.is_set():
                break

    threads = [threading.Thread(target=make, args=(first,)) for first in range(1, 4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        rotate_master(find(keys))
    stop.set()
    for thread in threads:
        thread.join()

    days = DayKeys(keys / "day", find(keys))
    assert made
    assert {day: days.open("flow", day).key for day in made} == made


def test_no_key_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the old key, the new one nor a secret is in what a failing rotation says."""
    keys = tmp_path / "keys"
    make_keys(keys, "file", monkeypatch)
    old, hidden = find(keys).read(), list(secrets(keys, find(keys)).values())
    FileMasterKey(keys / "master.key.next").create()
    put(keys / "master.check", bytes(40))

    with pytest.raises(KeyMaterialError) as caught:
        rotate_master(find(keys))

    for secret in (old, find(keys).read(), *hidden):
        assert not shown(secret, said(caught.value))
