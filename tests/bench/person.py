"""One person over 90 days, and a name suffix over everything: searches of a sealed store, timed.

Rules:
    1. Rows go through the real journal and the real sealer, day by day under a simulated clock; nothing is
       made faster for the bench. Columns are made with NumPy, never row by row.
    2. Warm is the same search again in a process that has done it; cold is the command in a fresh process.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from applog.health import DATASETS
from applog.records import FLOW
from applog.search.statement import Asked, answer
from retention.store import Store

DAY_US = 86_400_000_000
FRAME_ROWS = 20_000
RUNS = 5
SUFFIX = "example.com"
APPLOG = str(Path(sys.executable).with_name("applog"))

Numbers = npt.NDArray[np.int64]


@dataclass
class SimulatedClock:
    """A wall clock that stands still until it is set."""

    now: int

    def __call__(self) -> int:
        """Now, UTC µs."""
        return self.now


@dataclass(kw_only=True)
class School:
    """People, their devices, and the names they visit, as a school has them."""

    subjects: int = 5_000
    names: int = 20_000
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(20_260_801))

    @cached_property
    def user_ids(self) -> pa.Array:
        """Immutable directory ids."""
        return pa.array([f"7d9f3c1e-0000-4000-8000-{number:012x}" for number in range(self.subjects)])

    @cached_property
    def user_names(self) -> pa.Array:
        """Names with their realm."""
        return pa.array([f"student{number:05d}@school.example" for number in range(self.subjects)])

    @cached_property
    def macs(self) -> pa.Array:
        """A device each."""
        return pa.array([b"\x02\x00\x5e" + number.to_bytes(3) for number in range(self.subjects)])

    @cached_property
    def addresses(self) -> pa.Array:
        """An address each."""
        return pa.array([bytes([10, 20]) + (256 + number).to_bytes(2) for number in range(self.subjects)])

    @cached_property
    def domains(self) -> pa.Array:
        """Names, the most visited first; one in 1,500 ends in ``SUFFIX``."""
        return pa.array([self._domain(number) for number in range(self.names)])

    def _domain(self, number: int) -> str:
        host = ("www", "api", "cdn", "static", "img", "edge-7")[number % 6]
        if number % 1_500 == 750:
            return f"{host}.{SUFFIX}"
        return f"{host}.site-{number * 7_919 % self.names:05d}.{('net', 'co.th', 'org')[number % 3]}"

    @cached_property
    def servers(self) -> pa.Array:
        """Where each name lies."""
        raw = self.random.integers(0, 256, (self.names, 3))
        return pa.array([bytes([203, *row]) for row in raw.tolist()])

    @cached_property
    def _visits(self) -> npt.NDArray[np.float64]:
        weights = 1 / np.arange(1, self.names + 1) ** 1.05
        return np.cumsum(weights / weights.sum())

    def flows(self, start: int, rows: int, first: int) -> pa.RecordBatch:
        """*rows* flows of 16 hours from *start* (UTC µs) on, in order, numbered from *first*."""
        draw = self.random
        who = draw.integers(0, self.subjects, rows)
        name = np.minimum(np.searchsorted(self._visits, draw.random(rows)), self.names - 1)
        begin = np.sort(start + draw.integers(0, DAY_US * 2 // 3, rows))
        times = {
            "@timestamp": begin,
            "flow.start": begin,
            "event.end": begin + (draw.exponential(8e6, rows)).astype(np.int64),
        }
        columns = {label: pa.array(values, pa.timestamp("us")) for label, values in times.items()}
        columns |= self._ends(who, name) | self._sizes(rows) | self._said(name, rows)
        numbers = pa.array(np.arange(first, first + rows)).cast(pa.string())
        columns["flow.id"] = pc.binary_join_element_wise(f"{'c7' * 16}.0.", numbers, "")
        columns["flow.slice"] = pa.array(np.zeros(rows, np.int64))
        return FLOW.conform(columns, rows)

    def _ends(self, who: Numbers, name: Numbers) -> dict[str, pa.Array]:
        rows = len(who)
        return {
            "flow.local": _constant("source", rows),
            "source.ip": self.addresses.take(who),
            "source.mac": self.macs.take(who),
            "source.port": pa.array(self.random.integers(32_768, 61_000, rows)),
            "destination.ip": self.servers.take(name),
            "destination.mac": pa.array([b"\x02\x00\x5e\xff\xff\xff"]).take(np.zeros(rows, np.int64)),
            "user.id": self.user_ids.take(who),
            "user.name": self.user_names.take(who),
            "attribution.method": _constant("login", rows),
            "attribution.proof": pc.binary_join_element_wise(
                "portal.3.", pa.array(who % 997).cast(pa.string()), ""
            ),
            "network.zone": _constant("students", rows),
            "observer.ingress.interface.name": _constant("eth1", rows),
        }

    def _sizes(self, rows: int) -> dict[str, pa.Array]:
        columns: dict[str, pa.Array] = {}
        for end, mean in (("source", 6.5), ("destination", 8.5)):
            payload = np.exp(self.random.normal(mean, 1.8, rows)).astype(np.int64)
            packets = payload // 1_200 + 4
            columns[f"{end}.payload_bytes"] = pa.array(payload)
            columns[f"{end}.packets"] = pa.array(packets)
            columns[f"{end}.bytes"] = pa.array(payload + 40 * packets)
        return columns

    def _said(self, name: Numbers, rows: int) -> dict[str, pa.Array]:
        kind = self.random.random(rows)
        tls, quic = kind < 0.62, (kind >= 0.62) & (kind < 0.82)
        named = pa.array(tls | quic)
        nothing = pa.scalar(None, pa.string())
        alpn = pa.array([["h2", "http/1.1"]], pa.list_(pa.string())).take(np.zeros(rows, np.int64))
        return {
            "destination.domain": pc.if_else(named, self.domains.take(name), nothing),
            "flow.domain_source": pc.if_else(named, pc.if_else(pa.array(tls), "sni", "quic"), nothing),
            "destination.port": pa.array(np.where(tls | quic, 443, 53)),
            "network.transport": pc.if_else(pa.array(tls), "tcp", "udp"),
            "network.protocol": pc.if_else(pa.array(tls), "tls", pc.if_else(pa.array(quic), "quic", "dns")),
            "network.type": _constant("ipv4", rows),
            "flow.end_reason": pc.if_else(pa.array(tls), "closed", "idle"),
            "tcp.state": pc.if_else(pa.array(tls), "closed", nothing),
            "tcp.flags": pc.if_else(pa.array(tls), "FSPA/FSPA", nothing),
            "tls.version": pc.if_else(named, "1.3", nothing),
            "tls.client.alpn": pc.if_else(pa.array(tls), alpn, pa.scalar(None, alpn.type)),
        }


def _constant(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def fill(root: Path, rows: int, days: int, school: School) -> Store:
    """A store at *root* with *rows* flows of *days* days, all sealed; the newest are of yesterday."""
    today = time.time_ns() // 1_000 // DAY_US * DAY_US
    clock = SimulatedClock(today - days * DAY_US)
    store = Store.create(root, clock)
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, DATASETS, by="bench")
        sealer.recover()
        for day in range(days):
            start = today - (days - day) * DAY_US
            clock.now = start
            store.make_keys_ahead()
            with store.writer(FLOW, "capture") as writer:
                for batch in _frames(school, start, day, rows * (day + 1) // days - rows * day // days):
                    clock.now = int(batch.column("event.end").cast(pa.int64())[-1].as_py())
                    writer.append(batch)
            clock.now = start + DAY_US
            sealer.seal(FLOW, clock.now)
    return Store.open(root)


def _frames(school: School, start: int, day: int, rows: int) -> Iterator[pa.RecordBatch]:
    flows = school.flows(start, rows, day * rows)
    for at in range(0, rows, FRAME_ROWS):
        yield flows[at : at + FRAME_ROWS]


def measure(root: Path, rows: int, school: School) -> None:
    """Print how long searches of the store at *root* take, warm and cold."""
    store = Store.open(root)
    person = f"user.id:{school.user_ids[17].as_py()}"
    asked = {
        "one person": (person, "must: < 300 ms warm, < 1.5 s cold; aims at 30 ms"),
        "one person and a name": (f"{person} host:*.net", ""),
        "a name suffix": (f"host:*.{SUFFIX}", "must: < 2 s; aims at 0.5 s"),
        "everything, newest first": ("*", ""),
    }
    for label, (query, target) in asked.items():
        found = _search(store, query)
        warm = _median(partial(_search, store, query))
        cold = _median(partial(_command, root, query), runs=3)
        print(
            f"search     {label}: {warm * 1e3:,.0f} ms warm, {cold:.2f} s cold; {found:,} of {rows:,} records"
            + (f" ({target})" if target else "")
        )


def _search(store: Store, query: str) -> int:
    """As the command does it, without its process and its audit record; how many records match."""
    request = Asked(query=query).request(DATASETS, store.clock())
    found = answer(store, FLOW, request)
    if found.damages or found.result.batch.num_rows != min(request.limit, found.result.total):
        sys.exit(f"{query}: an answer that is not whole: {found.lines()}")
    return found.result.total


def _command(root: Path, query: str) -> None:
    command = [APPLOG, "--data", str(root), "search", query, "--format", "records"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _median(work: Callable[[], object], runs: int = RUNS) -> float:
    """Median seconds of *runs* runs."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Fill a store, or take the one that was filled before, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="flows altogether")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--subjects", type=int, default=5_000)
    parser.add_argument("--store", type=Path, help="keep the store here, and use it when it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="applog-person-") as folder:
        root = given.store or Path(folder) / "store"
        school = School(subjects=given.subjects)
        if not (root / "store.json").exists():
            started = time.perf_counter()
            fill(root, given.rows, given.days, school)
            seconds = time.perf_counter() - started
            print(f"seal       {given.rows:,} flows journaled and sealed in {seconds:,.0f} s")
        size = sum(path.stat().st_size for path in (root / "segments").rglob("*") if path.is_file())
        print(f"disk       {size / given.rows:.1f} B a flow in segments (must: <= 50; aims at 35)")
        measure(root, given.rows, school)


if __name__ == "__main__":
    main()
