"""Speed against peers, in one run on one machine: ``deploy/test --bench``.

Every line is a ratio to a peer, or a figure with the target of the design beside it. Peers that are not
installed are named and left out: ndpiReader (Debian libndpi-bin), nfpcapd (Debian nfdump), and NFStream
(PyPI nfstream, in the Python that ``NFSTREAM_PYTHON`` names).
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zstandard

from applog.capture.capfile import CaptureFile, Packets
from applog.capture.kernel import compiled
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo.school import write_school_day
from tests.bench import person, sealing
from tests.support.traffic import shared

RUNS = 3
COPIES = 10
NINETY_DAYS_ROWS = 10_000_000
APPLOG = str(Path(sys.executable).with_name("applog"))


def main() -> None:
    """Print every line that can be measured here."""
    root = shared()
    if root is None:
        sys.exit("the benchmark needs ../shared/perf/mixed-200k.pcap.zst, which is not here")
    with tempfile.TemporaryDirectory(prefix="applog-bench-") as folder:
        work = Path(folder)
        os.environ["APPLOG_DATA"] = str(work / "data")
        subprocess.run([APPLOG, "init"], check=True, stdout=subprocess.DEVNULL)
        mixed = work / "mixed-2m.pcap"
        packets = _ten_copies(root.parent / "perf" / "mixed-200k.pcap.zst", mixed)
        startup = _startup(work)
        _meter(mixed, packets, work)
        _import(mixed, packets, work, startup)
        sealing.run(work)
        _ninety_days(work)


def _ninety_days(work: Path) -> None:
    """Searches and structure verification of a store as it is after three months."""
    root, school = work / "ninety-days", person.School()
    person.fill(root, NINETY_DAYS_ROWS, 90, school)
    person.measure(root, NINETY_DAYS_ROWS, school)
    sealing.structure(root)


def _ten_copies(source: Path, target: Path) -> int:
    """Write *source* ten times, each an hour later; the number of packets."""
    with source.open("rb") as packed:
        data = bytearray(zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed).read())
    kernels = compiled()
    view = np.frombuffer(data, np.uint8)
    index = np.empty((300_000, 6), np.int64)
    count, _, _ = kernels.framing.walk_pcap(view, 24, len(data), np.array([0, 0, 1]), index)
    seconds = [view[at : at + 4].view("<u4") for at in (index[:count, 0] - 16).tolist()]
    with target.open("wb") as out:
        out.write(data[:24])
        for copy in range(COPIES):
            out.write(memoryview(data)[24:])
            if copy < COPIES - 1:
                for second in seconds:
                    np.add(second, 3_600, out=second)
    return int(count) * COPIES


def _startup(work: Path) -> float:
    """Print start-up times; the seconds of an import of next to nothing."""
    tiny = work / "tiny.pcap"
    import datetime as dt  # noqa: PLC0415

    write_school_day(tiny, dt.datetime.now(dt.UTC), hours=0.02)
    help_seconds = _median(lambda: _run([APPLOG, "--help"]))
    print(f"start-up   applog --help: {help_seconds:.2f} s (must: < 0.3 s)")
    _run([APPLOG, "import", "--again", str(tiny)])
    seconds = _median(lambda: _run([APPLOG, "import", "--again", str(tiny)]))
    print(f"start-up   applog import of a tiny file, warm cache: {seconds:.2f} s (must: <= 1 s)")
    return seconds


def _meter(path: Path, packets: int, work: Path) -> None:
    """The bounds-checked kernel alone, on bytes in memory, against nfpcapd's whole run."""
    kernels = compiled()
    with path.open("rb", buffering=0) as stream:
        blocks = [
            Packets(block.block.copy(), block.index[: block.count].copy(), block.count)
            for block in CaptureFile(stream, str(path), kernels).packets()
        ]

    def run() -> None:
        meter = Meter(kernels, PROFILES["standard"])
        for block in blocks:
            for _ in meter.feed(block):
                pass
        for _ in meter.finish():
            pass

    ours = _median(run)
    print(f"meter      {packets / ours / 1e6:.2f} M packets/s ({ours:.2f} s)")
    if shutil.which("nfpcapd"):
        out = work / "nfpcapd"
        out.mkdir()
        peer = _median(lambda: _run(["nfpcapd", "-r", str(path), "-w", str(out)]))
        print(f"meter      {peer / ours:.2f} x nfpcapd's whole run ({peer:.2f} s; must: >= 1.5, aims at 3)")
    else:
        print("meter      nfpcapd is not installed")


def _import(path: Path, packets: int, work: Path, startup: float) -> None:
    """The whole import to journaled records, against peers that store nothing."""
    whole = _median(lambda: _run([APPLOG, "import", "--again", str(path)]))
    ours = whole - startup
    print(f"import     {packets / ours / 1e6:.2f} M packets/s ({whole:.2f} s, {ours:.2f} s without start-up)")
    if shutil.which("ndpiReader"):
        peer = _median(lambda: _run(["ndpiReader", "-q", "-i", str(path)]))
        print(f"import     {peer / ours:.2f} x ndpiReader ({peer:.2f} s; must: >= 1, aims at 1.5)")
    else:
        print("import     ndpiReader is not installed")
    if python := os.environ.get("NFSTREAM_PYTHON"):
        script = work / "nfstream_count.py"
        script.write_text(_NFSTREAM)
        peer = _median(lambda: _run([python, str(script), str(path)]), runs=1)
        print(
            f"import     {peer / ours:.2f} x NFStream ({peer:.2f} s; must: >= 4, aims at 8 with two workers)"
        )
    else:
        print("import     NFStream: set NFSTREAM_PYTHON to a Python that has it")


_NFSTREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    print(sum(1 for _ in NFStreamer(source=sys.argv[1], n_dissections=20, statistical_analysis=False)))
"""


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _median(work: Callable[[], None], runs: int = RUNS) -> float:
    """Median seconds of *runs* runs."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
