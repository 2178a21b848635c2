"""The one door to time servers: SNTP (RFC 5905, client mode), and when their answers confirm the time.

Rules (FORMAT.md 10.1):
    1. The local clock has no part in it: an answer is dated by the monotonic clock, and the transmit
       timestamp that is sent is random, so that nobody off the path can answer.
    2. One server proves nothing. Three must answer, agree within two seconds and be a majority of all that
       were asked, silent ones included; the median counts.
    3. A confirmation lasts an hour. A machine that slept meanwhile does not stretch it (CLOCK_BOOTTIME).
    4. Plain NTP is not authenticated: who holds the way to all servers can give any time (FORMAT.md 11).
"""

import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from retention.errors import ClockError
from retention.times import iso

AGREEMENT_US = 2_000_000
"""How far apart agreeing answers may be."""
QUORUM = 3
"""So many must agree."""
CONFIRMED_SECONDS = 3600.0
RETRY_SECONDS = 60.0
MAX_DISTANCE_US = 1_000_000
"""Farthest from the true time that an answer may be by its own word (RFC 5905 MAXDIST)."""

_PACKET = struct.Struct(">BBbbII4s8s8sQQ")
"""Leap, version and mode; stratum, poll, precision, root delay, root dispersion, reference identifier;
reference, originate, receive and transmit timestamps."""
_ASK = 4 << 3 | 3
"""No leap warning, version 4, client."""
_MODE, _SERVER = 7, 4
_UNSYNCHRONISED = 3
_MAX_STRATUM = 15
_UNIX_EPOCH = 2_208_988_800
"""1970 in seconds since 1900."""
_ERA = 1 << 32
_GRANULARITY_US = 10_000
"""A server may read its clock this coarsely."""


class NtpAnswer(NamedTuple):
    """What one server said."""

    time_us: int
    """UTC µs at the moment the answer arrived, half the delay added."""
    delay_us: int
    """Of the way there and back, µs."""
    stratum: int
    """1 has a reference clock; each hop adds one."""


def query(server: str, port: int = 123, timeout: float = 2.0) -> NtpAnswer:
    """Ask *server* once, and wait *timeout* seconds for its answer (looking up its name is not counted).

    Raises:
        ClockError: no answer, or one that says nothing about the time; the message says which.
    """
    nonce = os.urandom(8)
    try:
        with _connected(server, port) as door:
            started = time.monotonic()
            door.send(_PACKET.pack(_ASK, 0, 0, 0, 0, 0, b"", b"", b"", 0, int.from_bytes(nonce)))
            data = _reply(door, nonce, started + timeout)
            elapsed = time.monotonic() - started
        return _understood(data, round(elapsed * 1e6))
    except TimeoutError as error:
        raise ClockError(f"{server}: {str(error) or f'no answer within {timeout:g} s'}") from error
    except OSError as error:
        raise ClockError(f"{server}: {error.strerror or error}") from error
    except ValueError as error:  # also a name that cannot be one
        raise ClockError(f"{server}: {error}") from error


def _connected(server: str, port: int) -> socket.socket:
    """A socket that hears this server alone; of its addresses, the first to which there is a way."""
    trouble = OSError("it has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM):
        door = socket.socket(family, kind, protocol)
        try:
            door.connect(address)
        except OSError as error:
            door.close()
            trouble = error
        else:
            return door
    raise trouble


def _reply(door: socket.socket, nonce: bytes, deadline: float) -> bytes:
    """The first packet that answers *nonce*. Others may be forged from elsewhere, so the wait goes on."""
    wrong = ""
    while (left := deadline - time.monotonic()) > 0:
        door.settimeout(left)
        try:
            data = door.recv(_PACKET.size + 1)
        except TimeoutError:
            break
        if len(data) != _PACKET.size:
            wrong = f"expected an answer of {_PACKET.size} bytes, found another size"
        elif data[24:32] != nonce:
            wrong = "its answer is not to our question (originate timestamp)"
        elif data[0] & _MODE != _SERVER:
            wrong = f"expected an answer in mode {_SERVER}, found mode {data[0] & _MODE}"
        else:
            return data
    raise TimeoutError(wrong)


def _understood(data: bytes, elapsed_us: int) -> NtpAnswer:
    """The answer in a packet that came *elapsed_us* behind its question; ``ValueError`` if it is none.

    RFC 5905: delay = (T4 - T1) - (T3 - T2), offset = ((T2 - T1) + (T3 - T4)) / 2. Of T1 and T4 only the
    difference is known, which suffices: T4 + offset = T3 + delay / 2.
    """
    flags, stratum, _, _, root_delay, root_dispersion, reference, _, _, received, sent = _PACKET.unpack(data)
    if stratum == 0:
        word = reference.rstrip(b"\0").decode("ascii", "backslashreplace")
        raise ValueError(f"it sends us away (kiss-o'-death {word!r})")
    if flags >> 6 == _UNSYNCHRONISED or stratum > _MAX_STRATUM:
        raise ValueError(f"it has no time itself (leap indicator {flags >> 6}, stratum {stratum})")
    if received == 0 or sent == 0:
        raise ValueError("its timestamps are missing")
    delay = elapsed_us - (_microseconds(sent) - _microseconds(received))
    if not -_GRANULARITY_US <= delay <= elapsed_us + _GRANULARITY_US:
        raise ValueError("its timestamps contradict one another")
    delay = max(delay, 0)
    distance = (_short(root_delay) + delay) // 2 + _short(root_dispersion)
    if distance > MAX_DISTANCE_US:
        raise ValueError(f"it may be {distance / 1e6:.1f} s off by its own word")
    return NtpAnswer(_microseconds(sent) + delay // 2, delay, stratum)


def _microseconds(timestamp: int) -> int:
    """UTC µs of an NTP timestamp of 1968 to 2104: the era is that of its highest bit (RFC 4330 section 3)."""
    seconds = timestamp >> 32
    if seconds < _ERA // 2:
        seconds += _ERA
    return (seconds - _UNIX_EPOCH) * 1_000_000 + ((timestamp & (_ERA - 1)) * 1_000_000 >> 32)


def _short(value: int) -> int:
    """µs of an NTP short (16.16 bits)."""
    return value * 1_000_000 >> 16


def agreed(answers: Sequence[NtpAnswer | None]) -> int | None:
    """The time on which *answers* agree, UTC µs, or None. Pure; None is a server that was asked in vain.

    All answers are as of one moment. At least three within two seconds, and more than half of all.
    """
    times = sorted(answer.time_us for answer in answers if answer is not None)
    groups = [
        [other for other in times[start:] if other - first <= AGREEMENT_US]
        for start, first in enumerate(times)
    ]
    largest = max(groups, key=len, default=[])
    if len(largest) < QUORUM or 2 * len(largest) <= len(answers):
        return None
    return statistics.median_low(largest)


def boot_clock() -> float:
    """Seconds since the machine started, sleep included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Heard(NamedTuple):
    """One server's answer and when it came, by the monotonic clock; or why there is none."""

    server: str
    answer: NtpAnswer | None
    at: float
    trouble: str = ""


@dataclass(kw_only=True)
class TimeSources:
    """Servers that together confirm the time. Used by one thread."""

    servers: tuple[str, ...]
    """Names or addresses, three at least; one that is named twice counts once."""
    ask: Callable[[str], NtpAnswer] = query
    monotonic: Callable[[], float] = boot_clock
    """Seconds; never steps."""
    reasons: list[str] = field(default_factory=list)
    """What each server said when they were asked last, and what follows; for people."""
    _confirmed: tuple[float, int] | None = None
    """Monotonic seconds, and the time then in UTC µs."""
    _next: float = float("-inf")
    """Not asked again before."""

    def confirm(self) -> int | None:
        """The time now, UTC µs, as confirmed within the hour; None: not confirmed, ``reasons`` says why.

        Asks the servers when the last confirmation is an hour old, and after a failure once a minute.
        """
        now = self.monotonic()
        if self._confirmed is not None:
            at, confirmed = self._confirmed
            if 0 <= now - at < CONFIRMED_SECONDS:
                return confirmed + round((now - at) * 1e6)
            self._confirmed = None
        elif now < self._next:
            return None
        confirmed_now = self._asked()
        now = self.monotonic()
        self._next = now + RETRY_SECONDS
        if confirmed_now is not None:
            self._confirmed = now, confirmed_now
        return confirmed_now

    def _asked(self) -> int | None:
        servers = tuple(dict.fromkeys(self.servers))
        if len(servers) < QUORUM:
            self.reasons = [f"expected at least {QUORUM} time servers, found {len(servers)}"]
            return None
        with ThreadPoolExecutor(len(servers)) as pool:
            heard = list(pool.map(self._hear, servers))
        now = self.monotonic()
        answers = [_advanced(one, now) for one in heard]
        confirmed = agreed(answers)
        self.reasons = [_said(one, answer) for one, answer in zip(heard, answers, strict=True)]
        self.reasons.append(
            f"no {QUORUM} of {len(servers)} servers agree within {AGREEMENT_US / 1e6:g} s"
            if confirmed is None
            else f"confirmed {iso(confirmed)}"
        )
        return confirmed

    def _hear(self, server: str) -> _Heard:
        try:
            answer = self.ask(server)
        except ClockError as error:
            return _Heard(server, None, 0.0, str(error))
        return _Heard(server, answer, self.monotonic())


def _advanced(heard: _Heard, now: float) -> NtpAnswer | None:
    """The answer as of *now*: servers that are asked together do not answer at once."""
    if heard.answer is None:
        return None
    return heard.answer._replace(time_us=heard.answer.time_us + round((now - heard.at) * 1e6))


def _said(heard: _Heard, answer: NtpAnswer | None) -> str:
    if answer is None:
        return heard.trouble
    delay = f"{answer.delay_us / 1e3:.0f} ms"
    return f"{heard.server}: {iso(answer.time_us)}, stratum {answer.stratum}, delay {delay}"
