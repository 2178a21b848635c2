"""Time servers: what counts as an answer, what counts as agreement, and that no server can do harm."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from retention.errors import ClockError
from retention.ntp import AGREEMENT_US, NtpAnswer, TimeSources, agreed, boot_clock, query
from tests.support.disk import HOUR, NOON, SECOND

UNIX_EPOCH = 2_208_988_800
Reply = Callable[[bytes], Iterable[bytes]]
"""A question in, packets out."""


def timestamp(microseconds: int) -> bytes:
    """UTC µs as an NTP timestamp, its era left out."""
    seconds, rest = divmod(microseconds, SECOND)
    return struct.pack(">II", (seconds + UNIX_EPOCH) % 2**32, (rest << 32) // SECOND)


def packet(question: bytes, **other: bytes | int) -> bytes:
    """A good server's answer to *question*, with some fields exchanged; laid out by RFC 5905 figure 8."""
    fields: dict[str, bytes | int] = {
        "leap": 0,
        "mode": 4,
        "stratum": 2,
        "delay": 0,
        "dispersion": 0,
        "reference": bytes(4),
        "originate": question[40:48],
        "received": timestamp(NOON),
        "sent": timestamp(NOON),
    }
    fields.update(other)
    head = bytes([int(fields["leap"]) << 6 | 4 << 3 | int(fields["mode"]), int(fields["stratum"]), 6, 0xE9])
    head += struct.pack(">II", fields["delay"], fields["dispersion"]) + bytes(fields["reference"])
    tail = bytes(fields["originate"]) + bytes(fields["received"]) + bytes(fields["sent"])
    return head + timestamp(NOON) + tail


@contextmanager
def serving(reply: Reply) -> Generator[int]:
    """A real UDP server on loopback; gives its port."""
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 0))
    door.settimeout(0.05)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                question, asker = door.recvfrom(2048)
            except TimeoutError:
                continue
            for answer in reply(question):
                door.sendto(answer, asker)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield door.getsockname()[1]
    finally:
        done.set()
        thread.join()
        door.close()


def good(question: bytes) -> list[bytes]:
    """A server at noon."""
    return [packet(question)]


def ask(reply: Reply, timeout: float = 0.3) -> NtpAnswer:
    """Ask a real server that answers with *reply*."""
    with serving(reply) as port:
        return query("127.0.0.1", port, timeout)


def test_a_good_server_is_understood() -> None:
    """The time is the server's and half the way there and back; stratum and delay are told."""
    answer = ask(good)

    assert 0 <= answer.delay_us < SECOND
    assert answer.time_us == NOON + answer.delay_us // 2
    assert answer.stratum == 2


def test_a_question_tells_nothing() -> None:
    """The question is a bare version 4 client packet; its transmit timestamp is random, not our clock."""
    asked: list[bytes] = []

    def note(question: bytes) -> list[bytes]:
        asked.append(question)
        return good(question)

    for _ in range(2):
        ask(note)

    assert [question[:40] for question in asked] == [b"\x23" + bytes(39)] * 2
    assert asked[0][40:] != asked[1][40:]


def test_the_servers_own_time_is_not_delay() -> None:
    """What passed between the server's two timestamps is taken off the delay."""

    def slow(question: bytes) -> list[bytes]:
        time.sleep(0.2)
        return [packet(question, sent=timestamp(NOON + 200_000))]

    answer = ask(slow, timeout=2)

    assert answer.delay_us < 150_000
    assert NOON + 200_000 <= answer.time_us <= NOON + 275_000


@pytest.mark.parametrize(
    "moment", [NOON, 2_085_978_495_999_999, 2_085_978_496_000_001, 4_000_000_000 * SECOND]
)
def test_the_next_era_is_understood(moment: int) -> None:
    """NTP's 32 bits of seconds start anew on 7 February 2036, and the years behind it are read rightly."""
    answer = ask(lambda question: [packet(question, received=timestamp(moment), sent=timestamp(moment))])

    assert abs(answer.time_us - answer.delay_us // 2 - moment) <= 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"stratum": 0, "reference": b"RATE"}, "kiss-o'-death 'RATE'"),
        ({"stratum": 0, "reference": b"\xff\x1b]0"}, r"kiss-o'-death '\\\\xff\\x1b\]0'"),
        ({"leap": 3}, "it has no time itself"),
        ({"stratum": 16}, "it has no time itself"),
        ({"stratum": 255}, "it has no time itself"),
        ({"sent": bytes(8)}, "timestamps are missing"),
        ({"received": bytes(8)}, "timestamps are missing"),
        ({"received": timestamp(NOON + SECOND)}, "contradict one another"),
        ({"sent": timestamp(NOON + SECOND)}, "contradict one another"),
        ({"sent": b"\xff" * 8}, "contradict one another"),
        ({"dispersion": 0xFFFFFFFF}, "65536.0 s off by its own word"),
        ({"delay": 3 << 16}, "1.5 s off by its own word"),
        ({"originate": bytes(8)}, "not to our question"),
        ({"originate": b"\x01" * 8}, "not to our question"),
        ({"mode": 3}, "found mode 3"),
        ({"mode": 5}, "found mode 5"),
    ],
)
def test_what_says_nothing_about_the_time_is_refused(fields: dict[str, bytes | int], why: str) -> None:
    """A kiss-o'-death, an unsynchronised, contradictory or foreign answer is an error that says which."""
    with pytest.raises(ClockError, match=rf"127\.0\.0\.1: .*{why}"):
        ask(lambda question: [packet(question, **fields)])


@pytest.mark.parametrize("size", [0, 1, 47, 49, 1200])
def test_packets_of_another_size_are_refused(size: int) -> None:
    """Short and long packets are no answers, however they begin."""
    with pytest.raises(ClockError, match="found another size"):
        ask(lambda question: [(packet(question) + bytes(size))[:size]])


def test_forged_packets_in_front_do_not_hide_the_answer() -> None:
    """Who guesses at our question cannot end the wait: the true answer behind it counts."""

    def beset(question: bytes) -> list[bytes]:
        forged = packet(question, originate=bytes(8), sent=timestamp(NOON + HOUR))
        return [b"", b"garbage", forged, forged[:20], packet(question)]

    answer = ask(beset)

    assert answer.time_us < NOON + SECOND


def test_an_endless_stream_does_not_hold_us() -> None:
    """A server that sends rubbish for ever is left when the time is over."""

    def flood(_: bytes) -> Generator[bytes]:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            yield b"rubbish"
            time.sleep(0.001)

    started = time.monotonic()
    with serving(flood) as port, pytest.raises(ClockError, match="another size"):
        query("127.0.0.1", port, 0.2)

    assert time.monotonic() - started < 2.5


def test_an_answer_from_elsewhere_is_not_heard() -> None:
    """A right packet that comes from another port than was asked is not taken."""
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker: list[tuple[str, int]] = []
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 0))

    def serve() -> None:
        question, address = door.recvfrom(2048)
        asker.append(address)
        other.sendto(packet(question), address)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ClockError, match=r"no answer within 0\.2 s"):
        query("127.0.0.1", door.getsockname()[1], 0.2)
    thread.join()
    door.close()
    other.close()

    assert asker


def test_a_silent_server_is_left() -> None:
    """No answer is an error, after the time that was given."""
    with pytest.raises(ClockError, match=r"127\.0\.0\.1: no answer within 0\.3 s"):
        ask(lambda _: [])


@pytest.mark.parametrize("name", ["127.0.0.1", "", "a..b", "x" * 64, "no.such.name.invalid", "\0"])
def test_no_server_is_an_error_of_ours(name: str) -> None:
    """A closed port, and what cannot be a name, is an error of this package."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        closed = door.getsockname()[1]

    with pytest.raises(ClockError, match=r": \S+"):
        query(name, closed, 0.1)


def answers(*times: int | None) -> list[NtpAnswer | None]:
    """Answers at noon and so many µs; None is a silent server."""
    return [None if one is None else NtpAnswer(NOON + one, 0, 2) for one in times]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((), None),
        ((0,), None),
        ((0, 0), None),
        ((0, 0, None), None),
        ((3, 1, 2), 2),
        ((0, AGREEMENT_US // 2, AGREEMENT_US), AGREEMENT_US // 2),
        ((0, AGREEMENT_US // 2, AGREEMENT_US + 1), None),
        ((0, 0, HOUR), None),
        ((HOUR, HOUR, 0), None),
        ((0, 0, 0, HOUR), 0),
        ((0, 0, 0, None), 0),
        ((0, 0, 0, HOUR, None), 0),
        ((0, 0, 0, HOUR, HOUR, HOUR), None),
        ((0, 0, 0, None, None, None), None),
        ((0, 0, 0, None, None, None, None), None),
        ((0, 0, 0, HOUR, HOUR, HOUR, HOUR), HOUR),
        ((1, 2, 3, 4), 2),
        ((0, SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND), SECOND),
    ],
)
def test_three_and_a_majority_must_agree(said: tuple[int | None, ...], expected: int | None) -> None:
    """Fewer than three, or no majority of those asked, confirm nothing; of those that agree, the median."""
    found = agreed(answers(*said))

    assert found == (None if expected is None else NOON + expected)


@dataclass
class World:
    """Servers and a monotonic clock under the test's control."""

    offsets: dict[str, int | None]
    """How wrong each server is, µs; None: silent."""
    elapsed: float = 1000.0
    latency: float = 0.0
    asked: list[str] = field(default_factory=list)

    def ask(self, server: str) -> NtpAnswer:
        """The answer of *server* now."""
        self.asked.append(server)
        self.elapsed += self.latency
        offset = self.offsets[server]
        if offset is None:
            raise ClockError(f"{server}: no answer within 2 s")
        return NtpAnswer(NOON + round((self.elapsed - 1000) * SECOND) + offset, 1000, 2)

    def sources(self, *servers: str) -> TimeSources:
        """These servers, or all."""
        return TimeSources(
            servers=servers or tuple(self.offsets), ask=self.ask, monotonic=lambda: self.elapsed
        )


@pytest.fixture
def world() -> World:
    """Three good servers."""
    return World({"a": 0, "b": 0, "c": 0})


def test_a_confirmation_lasts_an_hour(world: World) -> None:
    """Within the hour the servers are left alone and the time goes on with the monotonic clock."""
    sources = world.sources()

    first = sources.confirm()
    world.elapsed += 3599.5
    later = sources.confirm()
    world.elapsed += 0.5
    asked_before = len(world.asked)
    again = sources.confirm()

    assert (first, later, again) == (NOON, NOON + 3599_500_000, NOON + HOUR)
    assert asked_before == 3
    assert len(world.asked) == 6


def test_an_old_confirmation_is_not_used_when_the_servers_are_gone(world: World) -> None:
    """Behind the hour nothing is confirmed until they answer again; they are asked once a minute."""
    sources = world.sources()
    sources.confirm()
    world.offsets = dict.fromkeys(world.offsets)
    world.elapsed += 3600

    gone = [sources.confirm()]
    world.elapsed += 59
    gone.append(sources.confirm())
    asked = len(world.asked)
    world.offsets = dict.fromkeys(world.offsets, 0)
    world.elapsed += 1

    assert gone == [None, None]
    assert asked == 6
    assert sources.confirm() == NOON + HOUR + 60 * SECOND


def test_a_lying_server_confirms_nothing(world: World) -> None:
    """One of three that is an hour off leaves the time unconfirmed, and each answer can be read."""
    world.offsets["b"] = HOUR
    sources = world.sources()

    confirmed = sources.confirm()

    assert confirmed is None
    assert sources.reasons == [
        "a: 2026-03-01T12:00:00.000000Z, stratum 2, delay 1 ms",
        "b: 2026-03-01T13:00:00.000000Z, stratum 2, delay 1 ms",
        "c: 2026-03-01T12:00:00.000000Z, stratum 2, delay 1 ms",
        "no 3 of 3 servers agree within 2 s",
    ]


def test_two_lies_and_a_silence_among_six_confirm_nothing(world: World) -> None:
    """Three good answers of six are no majority; of five they are."""
    world.offsets.update(d=HOUR, e=None)

    assert world.sources().confirm() == NOON
    world.offsets["f"] = 2 * HOUR
    assert world.sources().confirm() is None


def test_servers_that_answer_one_after_another_agree(world: World) -> None:
    """Answers are compared as of one moment, however long each took."""
    world.latency = 30.0
    sources = world.sources()

    confirmed = sources.confirm()

    assert confirmed == NOON + 90 * SECOND


def test_a_server_named_twice_counts_once(world: World) -> None:
    """The same name three times, or too few servers, confirms nothing, and says so."""
    sources = world.sources("a", "a", "a", "b")

    confirmed = sources.confirm()

    assert confirmed is None
    assert world.asked == []
    assert sources.reasons == ["expected at least 3 time servers, found 2"]


def test_a_restarted_clock_ends_a_confirmation(world: World) -> None:
    """A monotonic clock that went back is another machine's: the servers are asked again."""
    sources = world.sources()
    sources.confirm()
    world.elapsed -= 500

    confirmed = sources.confirm()

    assert len(world.asked) == 6
    assert confirmed == NOON - 500 * SECOND


def test_real_servers_confirm_together() -> None:
    """Three servers on loopback, through the real sockets and clock."""
    with serving(good) as first, serving(good) as second, serving(good) as third:
        sources = TimeSources(
            servers=(str(first), str(second), str(third)),
            ask=lambda port: query("127.0.0.1", int(port), 2.0),
        )
        before = boot_clock()

        confirmed = sources.confirm()

    assert confirmed is not None
    assert NOON <= confirmed <= NOON + round((boot_clock() - before) * SECOND) + SECOND
    assert sources.reasons[-1].startswith("confirmed 2026-03-01T12:00:0")
