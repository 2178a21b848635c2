"""The keeper's socket: who asks, how much and how long. Words: ``protocol``; answers: ``answers``.

Rules:
    1. Who asks is what the kernel says (SO_PEERCRED), never what the request says.
    2. Root and the keeper's own user may ask as anything; others in the role that the configuration gives
       them; everybody else is told so and sent away before a word is read.
    3. A peer can waste a place for ``IDLE_SECONDS`` and ``MAX_REQUEST`` bytes, no more; whoever comes when
       ``places`` has none for him is told so and sent away.
    4. A bug of ours ends one connection, not the socket.
"""

import contextlib
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from applog.keeper.answers import Answers
from applog.keeper.places import Places
from applog.keeper.protocol import MAX_REQUEST, NO_ROLE, Refusal, answered, parse, refused
from applog.keeper.roles import CUSTODIAN

_log = logging.getLogger(__name__)

NAME = "keeper.sock"
WAITING = 16
"""Connections that the kernel holds until they are accepted."""
QUIET_SECONDS = 60.0
"""A stranger is in the log no more often than this."""
IDLE_SECONDS = 10.0
"""A request must have arrived whole so long after the connection, or after the answer before it."""
SEND_SECONDS = 60.0
_LOOK_SECONDS = 0.25
_CREDENTIALS = struct.Struct("3i")


def peer_user(connection: socket.socket) -> int:
    """The number of the user at the other end, as the kernel knows it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(data)[1]
    return user


def is_trusted(user: int) -> bool:
    """Whether *user* is root or the keeper's own."""
    return user in (0, os.geteuid())


def role_of(user: int, readers: Mapping[str, str]) -> str | None:
    """The widest role of the system's *user*, or None."""
    if is_trusted(user):
        return CUSTODIAN
    try:
        return readers.get(pwd.getpwuid(user).pw_name)
    except KeyError:
        return None


@contextmanager
def address_of(root: Path) -> Iterator[str]:
    """A name of the socket of the store at *root* that is short enough (a socket's has at most 107 bytes)."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


@dataclass(kw_only=True)
class Server:
    """Answers at one socket."""

    root: Path
    answers: Answers
    readers: Mapping[str, str]
    peer: Callable[[socket.socket], int] = peer_user
    idle_seconds: float = IDLE_SECONDS
    _stop: threading.Event = field(default_factory=threading.Event)
    _places: Places = field(default_factory=Places)
    _told: dict[int, float] = field(default_factory=dict)
    """When a stranger was logged last; for the accepting thread."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer in threads until the block ends. The keeper's lock is held: an old socket is nobody's."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            path = self.root / NAME
            path.unlink(missing_ok=True)
            with address_of(self.root) as address:
                door.bind(address)
            path.chmod(0o660)
            door.listen(WAITING)
            door.settimeout(_LOOK_SECONDS)
            thread = threading.Thread(target=self._accept, args=(door,), name="keeper-socket")
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()
                path.unlink(missing_ok=True)

    def _accept(self, door: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = door.accept()
            except TimeoutError:
                continue
            except OSError as error:
                _log.warning("socket: %s", error)
                self._stop.wait(_LOOK_SECONDS)  # out of descriptors, perhaps
                continue
            try:
                self._receive(connection)
            except Refusal as refusal:
                connection.settimeout(_LOOK_SECONDS)
                with connection, contextlib.suppress(OSError):
                    connection.sendall(refused(refusal))
            except OSError as error:
                connection.close()
                _log.info("socket: a connection ended: %s", error)
            except Exception:  # noqa: BLE001  rule 4
                connection.close()
                _log.exception("socket: a bug in applog, please report it")

    def _receive(self, connection: socket.socket) -> None:
        """Give who is at the other end a place and a thread.

        Raises:
            Refusal: a stranger, or there is none.
        """
        user = self.peer(connection)
        given = role_of(user, self.readers)
        if given is None:
            self._log_stranger(user)
            raise Refusal("denied", NO_ROLE)
        says = self._places.take(user, trusted=is_trusted(user))
        if says is not None:
            raise Refusal("busy", says)
        try:
            threading.Thread(target=self._serve, args=(connection, user, given), daemon=True).start()
        except RuntimeError as error:  # the system has no more threads for us
            self._places.release(user)
            _log.warning("socket: %s", error)
            raise Refusal("busy", "there is no thread for one more; try again") from error

    def _log_stranger(self, user: int) -> None:
        now = time.monotonic()
        if now - self._told.get(user, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._told[user] = now
            _log.warning("socket: user %d: %s", user, NO_ROLE)

    def _serve(self, connection: socket.socket, user: int, given: str) -> None:
        try:
            with connection:
                self._converse(connection, user, given)
        except OSError as error:
            _log.info("socket: a connection ended: %s", error)
        except Exception:  # noqa: BLE001  rule 4
            _log.exception("socket: a bug in applog, please report it")
        finally:
            self._places.release(user)

    def _converse(self, connection: socket.socket, user: int, given: str) -> None:
        try:
            for line in _lines(connection, self.idle_seconds):
                answer = self._answer(line, user, given)
                connection.settimeout(SEND_SECONDS)
                connection.sendall(answer)
        except Refusal as refusal:  # what came is no request at all
            connection.sendall(refused(refusal))

    def _answer(self, line: bytes, user: int, given: str) -> bytes:
        try:
            return answered(self.answers.answer(parse(line), given, user))
        except Refusal as refusal:
            if refusal.word == "denied":
                _log.warning("socket: user %d: %s", user, refusal)
            return refused(refusal)


def _lines(connection: socket.socket, seconds: float) -> Iterator[bytes]:
    """The lines that a peer sends, each whole within *seconds* and at most ``MAX_REQUEST`` bytes.

    Raises:
        Refusal: a line is too long.
        TimeoutError: it took too long.
    """
    buffer = b""
    deadline = time.monotonic() + seconds
    while True:
        line, feed, rest = buffer.partition(b"\n")
        if feed:
            yield line
            buffer, deadline = rest, time.monotonic() + seconds
            continue
        if len(buffer) > MAX_REQUEST:
            raise Refusal("malformed", f"expected a line of at most {MAX_REQUEST} bytes")
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        data = connection.recv(MAX_REQUEST)
        if not data:
            return
        buffer += data
