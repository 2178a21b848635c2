"""Hostile packets, payloads and files through the whole of capture: ``python -m tests.fuzz.fuzz_capture``.

What must hold, whatever comes in:
    1. Nothing raises but ``NotACaptureError`` for a whole file.
    2. Every packet fed is counted: it has an IP header, or it is in the counter of one reason; and the
       packets in records are those with an IP header.
    3. No decoder takes longer than a second.
    4. Every row has a canonical line.

The kernel is the shipped build, with its bounds checks. Packets are made in batches of NumPy arrays: a
corpus of valid frames of every kind, each batch picking, cutting, overwriting and lying about them.
"""

import argparse
import io
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from applog.capture.capfile import CaptureFile, Packets
from applog.capture.decode import dhcp, dns, http, tls
from applog.capture.extract import Extraction
from applog.capture.kernel import Kernels, compiled
from applog.capture.kernel import columns as c
from applog.capture.losses import _PACKET_REASONS
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo import names, payloads
from applog.demo.addressing import Dhcp, Dhcp6, dhcp4, dhcp6
from applog.demo.names import Answer
from applog.errors import NotACaptureError
from retention.encoding import encode

PCAPS: Final = Path(__file__).parents[1] / "pcaps"
LINKS: Final = (1, 1, 1, 1, 1, 1, 0, 12, 14, 101, 108, 113, 228, 229, 276, 147, -1, 1 << 40)
BATCH: Final = 50_000
SLOTS: Final = 512
"""Bytes kept of a frame of the corpus; longer ones are cut, and say so by their wire length."""
DECODER_SECONDS: Final = 1.0

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


class BrokenPromiseError(AssertionError):
    """A promise was broken; the message says by what."""


@dataclass
class Tally:
    """What was done."""

    packets: int = 0
    files: int = 0
    decoded: int = 0
    records: int = 0
    seconds: float = 0.0
    slowest: float = field(default=0.0)
    """Longest call of a decoder, s."""

    def __str__(self) -> str:
        return (
            f"{self.packets:,} packets in {self.records:,} records, {self.decoded:,} decoder calls "
            f"(slowest {self.slowest * 1e3:.1f} ms), {self.files:,} files: no failure in {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Corpus:
    """Valid frames, one a row, of every link type."""

    frames: Bytes
    sizes: Integers
    wires: Integers
    links: Integers


# --- packets -------------------------------------------------------------------------------------------


def stored_captures() -> list[bytes]:
    """Every small capture of tests/pcaps."""
    return [path.read_bytes() for path in sorted(PCAPS.iterdir()) if ".pcap" in path.name]


def frame_corpus(kernels: Kernels) -> Corpus:
    """Every distinct frame of tests/pcaps."""
    found: dict[tuple[bytes, int], int] = {}
    for data in stored_captures():
        try:
            capture = CaptureFile(io.BytesIO(data), "corpus", kernels)
            for packets in capture.packets():
                for row in packets.index[: packets.count].tolist():
                    at, size, wire, link = row[c.OFFSET], row[c.CAPTURED], row[c.WIRE], row[c.LINK]
                    found[packets.block[at : at + min(size, SLOTS)].tobytes(), link] = wire
        except NotACaptureError:
            continue
    frames = np.zeros((len(found), SLOTS), np.uint8)
    for row, (frame, _) in enumerate(found):
        frames[row, : len(frame)] = np.frombuffer(frame, np.uint8)
    sizes = np.array([len(frame) for frame, _ in found], np.int64)
    links = np.array([link for _, link in found], np.int64)
    return Corpus(frames, sizes, np.array(list(found.values()), np.int64), links)


def hostile_batch(corpus: Corpus, chance: np.random.Generator, count: int, start: int) -> Packets:
    """*count* packets made from *corpus*; times go on from *start*."""
    picks = chance.integers(0, len(corpus.frames), count)
    block = np.ascontiguousarray(corpus.frames[picks])
    sizes, wires = corpus.sizes[picks], corpus.wires[picks]
    links = np.where(chance.random(count) < 0.9, corpus.links[picks], chance.choice(LINKS, count))
    _overwrite(block, sizes, chance)
    noise = np.nonzero(chance.random(count) < 0.05)[0]
    block[noise] = chance.integers(0, 256, (len(noise), SLOTS), np.uint8)
    sizes[noise] = chance.integers(0, SLOTS + 1, len(noise))
    cut = chance.random(count) < 0.2
    sizes = np.where(cut, (sizes * chance.random(count)).astype(np.int64), sizes)
    lie = chance.random(count) < 0.05
    wires = np.where(lie, chance.integers(0, 1 << 32, count), np.maximum(wires, sizes))
    index = np.zeros((count, 6), np.int64)
    index[:, c.OFFSET] = np.arange(count) * SLOTS
    index[:, c.CAPTURED] = sizes
    index[:, c.WIRE] = wires
    index[:, c.TIME] = _times(chance, count, start)
    index[:, c.LINK] = links
    # The block ends with the last packet: whoever reads behind it reads behind the array.
    return Packets(block.reshape(-1)[: (count - 1) * SLOTS + int(sizes[-1])].copy(), index, count)


def _overwrite(block: Bytes, sizes: Integers, chance: np.random.Generator) -> None:
    """Change up to three single bytes in most packets, near the headers more often; and addresses in many."""
    count = len(block)
    rows = np.arange(count)
    for share in (0.8, 0.5, 0.3):
        hit = chance.random(count) < share
        near = chance.random(count) < 0.7
        places = (np.where(near, np.minimum(sizes, 80), sizes) * chance.random(count)).astype(np.int64)
        values = np.where(
            chance.random(count) < 0.5,
            chance.integers(0, 256, count),
            chance.choice([0, 1, 4, 5, 6, 0x45, 0x4F, 0x60, 0x7F, 0x80, 0xFF], count),
        ).astype(np.uint8)
        block[rows[hit], places[hit]] = values[hit]
    spread = chance.random(count) < 0.3  # many hosts: a table that fills up
    block[spread, 28:30] = chance.integers(0, 256, (int(spread.sum()), 2), np.uint8)


def _times(chance: np.random.Generator, count: int, start: int) -> Integers:
    """Mostly a little later than the one before; rarely out of order, far away, or no time at all."""
    steps = chance.integers(0, 2_000, count)
    steps = np.where(chance.random(count) < 0.01, chance.integers(-30_000_000, 30_000_000, count), steps)
    times = start + np.cumsum(steps)
    wild = chance.random(count) < 0.000_1
    times = np.where(wild, chance.integers(-(1 << 62), 1 << 62, count), times)
    return np.where(chance.random(count) < 0.000_1, chance.integers(0, 1 << 58, count), times)


def fuzz_packets(
    kernels: Kernels, chance: np.random.Generator, count: int, tally: Tally, until: float
) -> None:
    """Feed *count* packets, a new meter every million."""
    corpus = frame_corpus(kernels)
    fed = 0
    while fed < count and time.monotonic() < until:
        profile = PROFILES[("minimum", "standard", "detailed")[int(chance.integers(3))]]
        meter = Meter(kernels, profile, pool_rows=int(chance.choice([1, 64, 1024, 1 << 14, 1 << 18])))
        start, here, counted = 1_785_722_400_000_000, 0, 0
        while here < 1_000_000 and fed < count and time.monotonic() < until:
            size = min(BATCH, count - fed)
            batch = hostile_batch(corpus, chance, size, start)
            start += size * 1_000
            for metered in meter.feed(batch):
                counted += _check_metered(metered.records, metered.peeks, metered.peek_bytes)
                tally.records += len(metered.records)
            fed, here = fed + size, here + size
        for metered in meter.finish():
            counted += _check_metered(metered.records, metered.peeks, metered.peek_bytes)
            tally.records += len(metered.records)
        _check_counters(meter.state, here, counted)
        tally.packets += here


def _check_metered(records: Integers, peeks: Integers, peek_bytes: Bytes) -> int:
    """Packets in the records; no number is impossible."""
    counts = records[:, c.A_PACKETS : c.B_PAYLOAD + 1]
    if (counts < 0).any():
        raise BrokenPromiseError("a count is negative")
    full = records[(records[:, c.A_PACKETS] + records[:, c.B_PACKETS]) > 0]
    if (full[:, c.SLICE_START] > full[:, c.SLICE_END]).any() or (full[:, c.SLICE_START] < 0).any():
        raise BrokenPromiseError("a slice ends before it begins")
    if len(peeks):
        ends = peeks[:, c.K_START] + peeks[:, c.K_LENGTH]
        if (peeks[:, c.K_LENGTH] < 0).any() or ends.max() > len(peek_bytes):
            raise BrokenPromiseError("a peek lies outside its bytes")
    return int(counts[:, 0].sum() + counts[:, 3].sum())


def _check_counters(state: Integers, fed: int, counted: int) -> None:
    """Every packet is in a flow or in one reason."""
    reasons = sum(int(state[reason]) for reason in _PACKET_REASONS)
    if int(state[c.C_PACKETS]) != fed:
        raise BrokenPromiseError(f"{fed} packets were fed, {state[c.C_PACKETS]} counted")
    if int(state[c.C_IP]) + reasons != fed:
        raise BrokenPromiseError(
            f"{fed} packets were fed, {state[c.C_IP]} have an IP header, {reasons} a reason"
        )
    if int(state[c.C_IP]) != counted:
        raise BrokenPromiseError(f"{state[c.C_IP]} packets have an IP header, {counted} are in records")
    if (state[c.C_PACKETS : c.C_PEEKS_CAPPED + c.BYTES_OF + 1] < 0).any():
        raise BrokenPromiseError("a counter is negative")


# --- decoders --------------------------------------------------------------------------------------------


def decoder_corpus() -> list[tuple[Callable[[bytes], Any], list[bytes]]]:
    """Each decoder with inputs that it reads."""
    address = Answer("a.example", names.A, "192.0.2.1")
    alias = Answer("www.example", names.CNAME, "a.example")
    question = names.dns_query("www.example", ident=7)
    answer = names.dns_response("www.example", names.A, (alias, address), ident=7)
    hellos = [
        payloads.client_hello("video.example", pad_to=600),
        payloads.client_hello(None, alpn=(), versions=()),
        payloads.client_hello("a.example", ech=payloads.ech_extension()),
    ]
    servers = [payloads.server_hello(), payloads.server_hello(version=payloads.TLS12, alpn="h2")]
    requests = [
        payloads.http_request("GET", "a.example:8080", "/?q"),
        payloads.http_request("POST", "[2001:db8::1]:80", body=b"x=1"),
        b"CONNECT a.example:443 HTTP/1.1\r\n\r\n",
        b"GET http://a.example/ HTTP/1.0\r\nHost: b\r\n folded\r\n\r\n",
    ]
    answers = [payloads.http_response(), b"HTTP/1.1 100 Continue\r\n\r\n" + payloads.http_response(404)]
    mac = "02-1a-7c-00-53-21"
    v4 = [
        dhcp4(
            kind, mac, transaction=1, host_name="phone", your_ip="10.0.0.1", server_ip="10.0.0.2", lease_s=60
        )
        for kind in Dhcp
    ]
    v6 = [
        dhcp6(kind, mac, transaction=1, server_mac=mac, address="2001:db8::1", host_name="phone.example")
        for kind in Dhcp6
    ]
    relayed = bytes([12, 1]) + bytes(32) + b"\0\x09" + len(v6[0]).to_bytes(2) + v6[0]
    messages = [question, answer, names.mdns_announcement((address,)), names.mdns_query("_ipp._tcp.local")]
    streams = [b"".join(map(names.dns_over_tcp, messages))]
    found: list[tuple[Callable[[bytes], Any], list[bytes]]] = [
        (dns.message, messages),
        (dns.messages, streams),
        (dhcp.v4, v4),
        (dhcp.v6, [*v6, relayed]),
    ]
    for final in (False, True):
        found += [
            (partial(tls.client_hello, final=final), hellos),
            (partial(tls.client_hello_body, final=final), [hello[5:] for hello in hellos]),
            (partial(tls.server_hello_version, final=final), servers),
            (partial(http.request, final=final), requests),
            (partial(http.response_status, final=final), answers),
        ]
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """*data* with bytes changed, cut, repeated, inserted or put in front; sometimes up to 64 KiB."""
    raw = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(6):
            case 0 if at < len(raw):
                raw[at] = chance.choice(
                    (0, 1, 0x0C, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF, chance.randrange(256))
                )
            case 1:
                del raw[at : at + chance.choice((1, 2, 8))]
            case 2:
                raw[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
            case 3:
                raw[at:at] = raw[chance.randrange(len(raw) + 1) :][: chance.choice((4, 40, 400))]
            case 4 if at + 2 <= len(raw):
                raw[at : at + 2] = chance.choice(
                    (0, 1, 0xFFFF, len(raw), chance.randrange(1 << 16))
                ).to_bytes(2)
            case _:
                del raw[at:]
    if chance.random() < 0.02:
        raw *= chance.randrange(2, 200)
    return bytes(raw[:65_535])


MONSTERS: Final = (
    b"\0" * 65_535,
    b"\xff" * 65_535,
    b"\xc0\x0c" * 32_000,
    b"\0\1\1\0\x80\0\0\0\0\0\0\0" + b"\1a" * 30_000,
    b"\0\1\x81\x80\0\1\xff\xff\0\0\0\0\1a\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0" * 5_000,
    b"GET " + b"a" * 65_000,
    b"GET / HTTP/1.1\r\n" + b"Host:\r\n " * 8_000,
    b"GET / HTTP/1.1\r\n" + b"\r" * 60_000,
    b"HTTP/1.1 100 C\r\n\r\n" * 3_000,
    b"\x16\3\1\0\1\1" * 10_000,
    b"\x16\3\1\0\0" * 13_000,
    bytes([12, 0]) + bytes(32) + b"\0\x09\xff\xff" * 16_000,
)
"""Inputs made to cost time: endless names, pointers, records, folds and relays."""


def fuzz_decoders(chance: random.Random, count: int, tally: Tally, until: float) -> None:
    """Call each decoder *count* times."""
    for decode, valid in decoder_corpus():
        for data in MONSTERS:
            _decode(decode, data, tally)
        for number in range(count):
            if number % 100 == 0 and time.monotonic() > until:
                return
            if chance.random() < 0.03:
                data = chance.randbytes(chance.choice((0, 1, 12, 300, 2_000)))
            else:
                data = mutated(chance.choice(valid), chance)
            _decode(decode, data, tally)


def _decode(decode: Callable[[bytes], Any], data: bytes, tally: Tally) -> None:
    began = time.perf_counter()
    try:
        decode(data)
    except Exception as error:
        raise BrokenPromiseError(
            f"{decode}({data[:200].hex()}… of {len(data)} bytes) raised {error!r}"
        ) from error
    spent = time.perf_counter() - began
    tally.decoded += 1
    tally.slowest = max(tally.slowest, spent)
    if spent > DECODER_SECONDS:
        raise BrokenPromiseError(f"{decode}({data[:200].hex()}… of {len(data)} bytes) took {spent:.1f} s")


# --- files -----------------------------------------------------------------------------------------------


def fuzz_files(kernels: Kernels, chance: random.Random, count: int, tally: Tally, until: float) -> None:
    """Read *count* damaged captures to the end, in the most curious profile."""
    whole = [data for data in stored_captures() if data]
    for _ in range(count):
        if time.monotonic() > until:
            return
        data = mutated(chance.choice(whole), chance)
        try:
            packets, counted = _read(kernels, data)
        except NotACaptureError:
            packets = counted = 0
        except Exception as error:
            raise BrokenPromiseError(
                f"a file of {len(data)} bytes raised {error!r}: {data[:4000].hex()}"
            ) from error
        if packets != counted:
            raise BrokenPromiseError(f"{packets} packets read, {counted} in rows: {data[:4000].hex()}")
        tally.files += 1


def _read(kernels: Kernels, data: bytes) -> tuple[int, int]:
    """(packets of the file, packets in flows or in reasons); every row is encoded."""
    extraction = Extraction(CaptureFile(io.BytesIO(data), "fuzz", kernels), PROFILES["detailed"], kernels)
    counted = 0
    for rows in extraction.rows():
        batch = rows.batch
        if rows.dataset.name == "coverage":
            at = batch.schema.get_field_index("coverage.source")
            batch = batch.set_column(at, batch.schema.field(at), pa.array(["fuzz"] * len(batch)))
            for row in batch.to_pylist():
                has_bytes = row["coverage.bytes"] is not None
                counted += (row["coverage.packets"] or 0) if has_bytes else 0
        elif rows.dataset.name == "flow":
            for column in ("source.packets", "destination.packets"):
                counted += sum(batch.column(column).to_pylist())
        encode(rows.dataset, batch)
    return extraction.packets, counted


# --- command ---------------------------------------------------------------------------------------------


def fuzz(*, packets: int, seconds: float, seed: int, decodes: int = 20_000, files: int = 2_000) -> Tally:
    """Everything, until the counts are reached or the time is over; the packets get what the others leave.

    Raises:
        BrokenPromiseError: A promise was broken.
    """
    kernels, chance = compiled(), random.Random(seed)
    began = time.monotonic()
    tally = Tally()
    fuzz_decoders(chance, decodes, tally, began + seconds * 0.25)
    fuzz_files(kernels, chance, files, tally, began + seconds * 0.4)
    fuzz_packets(kernels, np.random.default_rng(seed), packets, tally, began + seconds)
    tally.seconds = time.monotonic() - began
    return tally


def _arguments(words: Sequence[str] | None) -> Iterator[Any]:
    parser = argparse.ArgumentParser(description="Feed hostile input to the whole of capture.")
    parser.add_argument("--seconds", type=float, default=300, help="stop after this long (300)")
    parser.add_argument("--packets", type=int, default=10_000_000, help="packets to feed (10,000,000)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run; by default another each time")
    given = parser.parse_args(words)
    yield from (
        given.seconds,
        given.packets,
        random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run; 1 if a promise was broken."""
    seconds, packets, seed = _arguments(words)
    try:
        print(f"seed {seed}: {fuzz(packets=packets, seconds=seconds, seed=seed)}")
    except BrokenPromiseError as failure:
        print(f"seed {seed}: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
