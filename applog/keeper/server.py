"""The keeper's socket: who asks, how much and how long. Words: ``protocol``; answers: ``answers``.

Rules:
    1. Who asks is what the kernel says (SO_PEERCRED), never what the request says.
    2. Root and the keeper's own user may ask as anything; others in the role that the configuration gives
       them; everybody else is denied.
    3. A peer can waste a place for ``IDLE_SECONDS`` and ``MAX_REQUEST`` bytes, no more; there are ``PLACES``
       places, and whoever comes when they are taken is told so and sent away.
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
from applog.keeper.protocol import MAX_REQUEST, Refusal, answered, parse, refused
from applog.keeper.roles import CUSTODIAN

_log = logging.getLogger(__name__)

NAME = "keeper.sock"
PLACES = 16
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


def role_of(user: int, readers: Mapping[str, str]) -> str | None:
    """The widest role of the system's *user*, or None."""
    if user in (0, os.geteuid()):
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
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(PLACES))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer in threads until the block ends. The keeper's lock is held: an old socket is nobody's."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            path = self.root / NAME
            path.unlink(missing_ok=True)
            with address_of(self.root) as address:
                door.bind(address)
            path.chmod(0o660)
            door.listen(PLACES)
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
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            else:
                connection.settimeout(_LOOK_SECONDS)
                with connection, contextlib.suppress(OSError):
                    connection.sendall(refused(Refusal("busy", f"all {PLACES} places are taken; try again")))

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                user = self.peer(connection)
                lines = _lines(connection, self.idle_seconds)
                for line in lines:
                    answer = self._answer(line, user)
                    connection.settimeout(SEND_SECONDS)
                    connection.sendall(answer)
        except OSError as error:
            _log.info("socket: a connection ended: %s", error)
        except Refusal as refusal:  # what came is no request at all
            with contextlib.suppress(OSError):
                connection.sendall(refused(refusal))
        except Exception:  # noqa: BLE001  rule 4
            _log.exception("socket: a bug in applog, please report it")
        finally:
            self._places.release()

    def _answer(self, line: bytes, user: int) -> bytes:
        try:
            given = role_of(user, self.readers)
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
