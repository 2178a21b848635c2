"""Sealing and verifying on one core: rows a second, bytes a second against ``openssl dgst``, bytes a row.

Rules:
    1. Runs in a process of its own that is bound to one core (sealing, deep verification), so that nothing
       is gained by the second one; structure verification may use all, as its peer could.
    2. The VRF of the day's subjects is timed apart, with the same subjects.
"""

import argparse
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from applog.health import DATASETS
from applog.records import FLOW
from retention.digests import sha256_ranges
from retention.encoding import encode
from retention.store import Store
from retention.verify import Scope, Verifier
from retention.vrf import SecretKey
from tests.bench.person import DAY_US, School, SimulatedClock

FRAME_ROWS = 5_000
ROWS = 500_000
SUBJECTS = 5_000


def run(work: Path, rows: int = ROWS) -> None:
    """Print the lines of sealing and verification; everything lies in *work*."""
    root = work / "sealing"
    process = multiprocessing.get_context("spawn").Process(target=_on_one_core, args=(root, rows))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the sealing benchmark ended with {process.exitcode}")


def _on_one_core(root: Path, rows: int) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    school = School(subjects=SUBJECTS)
    store, clock = _journaled(root, rows, school)
    _warm(school)
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, DATASETS, by="bench")
        sealer.recover()
        reports = []
        seconds = _seconds(lambda: reports.extend(sealer.seal(FLOW, clock.now)))
    key = SecretKey.generate()
    ids = [b"user\0\x24" + text.as_py().encode() for text in school.user_ids]
    vrf = _seconds(lambda: [key.output(subject) for subject in ids])
    size = sum(report.size for report in reports)
    print(
        f"seal       {rows / (seconds - vrf):,.0f} rows/s with read-back, one core, {rows:,} rows in "
        f"{seconds:.1f} s (must: >= 100,000, aims at 150,000)"
    )
    print(f"seal       of these, VRF of {SUBJECTS:,} subjects: {vrf:.2f} s")
    print(f"disk       {size / rows:.1f} B/row (must: <= 50, aims at 35)")
    deep = _seconds(lambda: list(_verifier(store, Scope(deep=True, threads=1)).checks())) - vrf
    print(f"verify     --deep {rows / deep:,.0f} rows/s, one core (must: >= 100,000, aims at 400,000)")


def _journaled(root: Path, rows: int, school: School) -> tuple[Store, SimulatedClock]:
    """A store with a day's flows in its journal, in frames of ``FRAME_ROWS``, the day being over."""
    start = time.time_ns() // 1_000 // DAY_US * DAY_US - DAY_US
    clock = SimulatedClock(start)
    store = Store.create(root, clock)
    flows = school.flows(start, rows, 0)
    with store.writer(FLOW, "capture") as writer:
        for at in range(0, rows, FRAME_ROWS):
            writer.append(flows[at : at + FRAME_ROWS])
    clock.now = start + DAY_US
    return store, clock


def _warm(school: School) -> None:
    """Load the compiled parts, which a keeper has loaded for long."""
    lines = encode(FLOW, school.flows(0, 2_000, 0))
    data = bytes(lines.buffers()[2])
    ends = memoryview(lines.buffers()[1]).cast("i").tolist()
    import numpy as np  # noqa: PLC0415

    bounds = np.array(ends[:2_001], np.int64)
    sha256_ranges(np.frombuffer(data, np.uint8), bounds[:-1], bounds[1:])


def structure(root: Path) -> None:
    """Print how fast all files of the store at *root* are verified."""
    store = Store.open(root)
    paths = sorted((root / "segments").rglob("*.segment"))
    size = sum(path.stat().st_size for path in paths)
    peer = min(_seconds(lambda: _openssl(paths)) for _ in range(3))
    ours = min(_seconds(lambda: list(_verifier(store, Scope()).checks())) for _ in range(3))
    print(
        f"verify     {size / ours / 1e6:,.0f} MB/s of segments, {peer / ours:.2f} x openssl dgst -sha256 "
        f"({size / peer / 1e6:,.0f} MB/s; must: >= 0.8)"
    )


def _openssl(paths: list[Path]) -> None:
    subprocess.run(["openssl", "dgst", "-sha256", *map(str, paths)], check=True, stdout=subprocess.DEVNULL)


def _verifier(store: Store, scope: Scope) -> Verifier:
    return Verifier(
        root=store.root, created=store.created, datasets=DATASETS, day_keys=store.day_keys, scope=scope
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Command line."""
    import tempfile  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    with tempfile.TemporaryDirectory(prefix="applog-bench-") as folder:
        run(Path(folder), parser.parse_args().rows)
        structure(Path(folder) / "sealing")


if __name__ == "__main__":
    main()
