"""The socket: who is let in, and what hostile peers can and cannot do."""

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from applog.errors import KeeperError
from applog.keeper.answers import Answers
from applog.keeper.client import ask
from applog.keeper.places import PLACES, PLACES_EACH
from applog.keeper.protocol import MAX_REQUEST
from applog.keeper.register import Register
from applog.keeper.server import NAME, Server, address_of, peer_user, role_of
from retention.store import Store

STRANGER = 54_321


@contextmanager
def serving(store: Store, user: int | None = None, readers: dict[str, str] | None = None) -> Iterator[Server]:
    """A server; every peer is *user*, if one is given."""
    register = Register(store=Store.open(store.root))
    server = Server(
        root=store.root,
        answers=Answers(store=store, register=register, status=lambda: {"well": True}),
        readers=readers or {},
        peer=peer_user if user is None else lambda _: user,
        idle_seconds=1.0,
    )
    with server.running():
        yield server
    register.close()


@contextmanager
def connected(root: Path) -> Iterator[socket.socket]:
    """A peer that says what it likes."""
    with socket.socket(socket.AF_UNIX) as door, address_of(root) as address:
        door.settimeout(10)
        door.connect(address)
        yield door


def rest(door: socket.socket) -> bytes:
    """What comes until the other end closes."""
    said = b""
    try:
        while data := door.recv(1 << 16):
            said += data
    except ConnectionResetError:
        pass
    return said


def test_the_own_user_is_answered(store: Store) -> None:
    """The kernel says who asks; one request after the other on one connection."""
    with serving(store), connected(store.root) as door:
        for _ in range(3):
            door.sendall(b'{"ask":"status"}\n')
            assert json.loads(door.recv(1000)) == {"ok": True, "well": True}


def test_the_socket_is_for_user_and_group_and_goes_with_the_keeper(store: Store) -> None:
    """Mode 0660; an old one is replaced; afterwards there is none."""
    (store.root / NAME).touch()

    with serving(store):
        mode = (store.root / NAME).stat().st_mode

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    assert not (store.root / NAME).exists()


def test_a_long_path_has_a_socket_too(store: Store, tmp_path: Path) -> None:
    """Names of sockets are short; those of data directories need not be."""
    deep = tmp_path / ("x" * 100)
    store.root.rename(deep)

    with serving(Store.open(deep)):
        assert ask(deep, {"ask": "status"}) == {"well": True}


def test_another_user_is_denied(store: Store) -> None:
    """By default everybody but root and the keeper's own user."""
    with serving(store, STRANGER), pytest.raises(KeeperError, match="given no role"):
        ask(store.root, {"ask": "open", "dataset": "flow", "role": "auditor", "purpose": "x"})


def test_a_stranger_is_sent_away_before_he_says_a_word(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """He takes no place, and does not fill the log."""
    with serving(store, STRANGER):
        said = []
        for _ in range(PLACES * 2):
            with connected(store.root) as door:
                said.append(json.loads(rest(door))["error"])

    assert said == ["denied"] * PLACES * 2
    assert caplog.text.count(f"user {STRANGER}: this user was given no role") == 1


def test_a_reader_cannot_take_every_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """He has a few; the keeper's own user is answered beside him."""
    monkeypatch.setattr("applog.keeper.server.role_of", lambda *_: "auditor")
    with serving(store, STRANGER) as server, contextlib.ExitStack() as doors:
        for _ in range(PLACES_EACH):
            doors.enter_context(connected(store.root))
        with connected(store.root) as late:
            turned_away = json.loads(rest(late))
        server.peer = peer_user
        own = ask(store.root, {"ask": "status"})

    assert turned_away["error"] == "busy"
    assert "of this user" in turned_away["says"]
    assert own == {"well": True}


def test_without_threads_a_peer_is_told_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is free again, and the socket goes on."""

    def none(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with serving(store):
        monkeypatch.setattr(threading.Thread, "start", none)
        refusals = []
        for _ in range(PLACES + 1):
            with connected(store.root) as door:
                refusals.append(json.loads(rest(door))["says"])
        monkeypatch.undo()
        after = ask(store.root, {"ask": "status"})

    assert refusals == ["there is no thread for one more; try again"] * (PLACES + 1)
    assert after == {"well": True}


def test_a_named_user_is_answered_in_his_role(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in no wider one."""
    look = {"ask": "open", "dataset": "flow", "role": "auditor", "purpose": "x"}
    monkeypatch.setattr("applog.keeper.server.role_of", lambda user, _: {STRANGER: "auditor"}.get(user))

    with serving(store, STRANGER):
        answer = ask(store.root, look)
        with pytest.raises(KeeperError, match="may ask as auditor, not as custodian"):
            ask(store.root, {**look, "role": "custodian"})

    assert len(answer["segments"]) == 1


def test_roles_come_from_the_configuration() -> None:
    """Root and the own user have the widest; a number without a name has none."""
    nobody = 65_534

    assert role_of(0, {}) == role_of(os.geteuid(), {}) == "custodian"
    assert role_of(nobody, {}) is None
    assert role_of(nobody, {"nobody": "auditor"}) == "auditor"
    assert role_of(STRANGER, {"nobody": "auditor"}) is None


@pytest.mark.parametrize(
    "said",
    [b"\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100 + b"\n", b"[" * 60_000 + b"\n", b'{"ask":"open"}\n'],
    ids=["empty", "http", "zeros", "deep", "half"],
)
def test_what_is_no_request_gets_an_answer_and_harms_nobody(store: Store, said: bytes) -> None:
    """A refusal; the next peer is answered."""
    with serving(store):
        with connected(store.root) as door:
            door.sendall(said)
            answer = json.loads(door.makefile("rb").readline())
        after = ask(store.root, {"ask": "status"})

    assert (answer["ok"], answer["error"]) == (False, "malformed")
    assert after == {"well": True}


def test_a_line_without_end_is_cut_off(store: Store) -> None:
    """Behind the limit the peer is told, and sent away."""
    with serving(store), connected(store.root) as door:
        with suppress(BrokenPipeError, ConnectionResetError):
            door.sendall(b"x" * (MAX_REQUEST * 4))
        said = rest(door)

    assert said == b"" or b"at most" in said


def test_a_slow_peer_loses_its_place(store: Store) -> None:
    """A byte now and then does not keep a place."""
    with serving(store), connected(store.root) as door:
        started = time.monotonic()
        try:
            while time.monotonic() - started < 8:
                door.sendall(b" ")
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            pass
        took = time.monotonic() - started

    assert took < 4


def test_too_many_peers_are_told_so(store: Store) -> None:
    """They do not hold up those who are in; when one leaves, there is a place again."""
    with serving(store):
        doors = []
        for _ in range(PLACES):
            door = socket.socket(socket.AF_UNIX)
            with address_of(store.root) as address:
                door.connect(address)
            doors.append(door)
        time.sleep(0.3)
        with connected(store.root) as late:
            turned_away = json.loads(rest(late))
        for door in doors:
            door.close()
        time.sleep(0.3)
        after = ask(store.root, {"ask": "status"})

    assert turned_away["error"] == "busy"
    assert after == {"well": True}


def test_a_peer_that_leaves_early_harms_nobody(store: Store) -> None:
    """Neither before its line nor before the answer."""
    with serving(store):
        for said in (b"", b'{"ask"', b'{"ask":"status"}\n'):
            with connected(store.root) as door:
                door.sendall(said)
        after = ask(store.root, {"ask": "status"})

    assert after == {"well": True}


def test_many_peers_at_once_are_all_answered(store: Store) -> None:
    """Looks take turns; none is lost."""
    look = {"ask": "open", "dataset": "flow", "role": "auditor", "purpose": "x"}
    found: list[int] = []

    def one() -> None:
        found.append(len(ask(store.root, look)["segments"]))

    with serving(store):
        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == [1] * 8


@pytest.mark.parametrize("place", ["role_of", "parse"])
def test_a_bug_ends_one_connection(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """It is in the log with its place, and the socket goes on."""
    with serving(store):
        monkeypatch.setattr(f"applog.keeper.server.{place}", lambda *_: 1 / 0)
        with pytest.raises(KeeperError, match=r"did not answer|cannot be asked"):
            ask(store.root, {"ask": "status"})
        monkeypatch.undo()
        after = ask(store.root, {"ask": "status"})

    assert after == {"well": True}
    assert "ZeroDivisionError" in caplog.text
