"""Imports killed at random moments, over and over: ``python -m tests.faults.soak --seconds N --seed S``.

Rules:
    1. The process is the real command and dies by SIGKILL; the moments are spread over a whole run,
       start-up included. A run that ends before its moment comes is an import that completed.
    2. After every kill each dataset holds the first rows of a clean import, in order, and never fewer than
       after the kill before. What was cut short may be seen as a torn end, and as nothing else.
    3. After completion the store holds exactly the rows of a clean import; status --deep finds no damage.
"""

import argparse
import datetime as dt
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from applog.demo.school import write_school_day
from tests.support.command import applog, lines, lines_of, new_store, quickly, started

UNTIL = dt.datetime(2026, 3, 1, 17, tzinfo=dt.UTC)
_TORN = "cut short, or is under way"


class FaultError(AssertionError):
    """A promise was broken; the store is kept."""


@dataclass(kw_only=True)
class Course:
    """One capture, what a clean import makes of it, and stores in which imports are killed."""

    work: Path
    hours: float
    seed: int = 0
    kills: int = 0
    completed: int = 0
    moments: list[float] = field(default_factory=list)
    """Seconds after the start at which a process was killed."""

    def __post_init__(self) -> None:
        """Make the capture and import it once, undisturbed."""
        self.chance = random.Random(self.seed)
        self.capture = self.work / "day.pcap"
        write_school_day(self.capture, UNTIL, hours=self.hours, seed=self.seed + 2569)
        clean = new_store(self.work / "clean")
        begun = time.monotonic()
        done = applog(clean.root, "import", str(self.capture))
        self.seconds = time.monotonic() - begun
        _expect(done.code == 0, f"the clean import failed: {done.err}")
        self.clean = lines(clean)

    def run(self, kills: int) -> None:
        """Kill *kills* times, at moments that cover the run evenly, then let the last import complete."""
        slots = [(slot + self.chance.random()) / kills for slot in range(kills)]
        self.chance.shuffle(slots)
        wanted = self.kills + kills
        while self.kills < wanted:
            # An import that was over before its moment was not killed: another moment is drawn for it.
            slots = slots or [self.chance.random() for _ in range(wanted - self.kills)]
            with self._store() as root:
                self._until_complete(root, slots)

    @contextmanager
    def _store(self) -> Iterator[Path]:
        """A new store; kept for a look when something is wrong with it."""
        root = self.work / f"store-{self.completed}"
        new_store(root)
        yield root
        shutil.rmtree(root)

    def _until_complete(self, root: Path, slots: list[float]) -> None:
        before = dict.fromkeys(self.clean, 0)
        for _ in range(self.chance.randint(2, 8)):
            if not slots or not self._killed(root, slots.pop() * self.seconds * 1.02):
                break
            before = self._check_prefix(root, before)
        done = applog(root, "import", str(self.capture))
        _expect(done.code in (0, 5), f"the last import failed: {done.err}")
        _expect(done.code == 0 or "imported before" in done.err, f"the last import failed: {done.err}")
        self._check_whole(root)
        self.completed += 1

    def _killed(self, root: Path, moment: float) -> bool:
        """Whether the process was still running at *moment*."""
        process = started(root, "import", str(self.capture))
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            self.kills += 1
            self.moments.append(moment)
        _, err = process.communicate(timeout=60)
        # "Imported before": the one before was killed between its last record and its end.
        finished = process.returncode == 0 or b"imported before" in err
        _expect(finished or process.returncode == -9, f"an import failed: {err.decode()}")
        return not finished

    def _check_prefix(self, root: Path, before: dict[str, int]) -> dict[str, int]:
        found, damages = lines_of(root)
        strange = [damage for damage in damages if _TORN not in damage]
        _expect(not strange, f"damage that a kill does not leave: {strange} in {root}")
        for name, rows in found.items():
            _expect(rows == self.clean[name][: len(rows)], f"{name} is not as a clean import begins: {root}")
            _expect(len(rows) >= before[name], f"{name} lost acknowledged rows: {root}")
        return {name: len(rows) for name, rows in found.items()}

    def _check_whole(self, root: Path) -> None:
        found, damages = lines_of(root)
        _expect(not damages, f"damage after recovery: {damages} in {root}")
        _expect(found == self.clean, f"not the rows of a clean import: {root}")
        status = quickly(root, "status", "--deep")
        _expect(status.code == 0, f"status: {status.err} in {root}")
        _expect("every frame was read" in status.out, f"status does not say that it read all: {status.out}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FaultError(otherwise)


def main() -> None:
    """Kill imports until the time is over; say how many, or what broke."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800, help="how long (default 1800)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides capture and moments")
    chosen = parser.parse_args()
    print(f"soak: seed {chosen.seed}", flush=True)
    ends = time.monotonic() + chosen.seconds
    work = Path(tempfile.mkdtemp(prefix="applog-soak-"))
    course = Course(work=work, hours=24, seed=chosen.seed)
    try:
        while time.monotonic() < ends:
            course.run(10)
    except FaultError as error:
        sys.exit(f"soak: after {course.kills} kills: {error}\nsoak: seed {chosen.seed}; kept: {work}")
    shutil.rmtree(work)
    print(f"soak: {course.kills} kills, {course.completed} imports completed, nothing lost or doubled")


if __name__ == "__main__":
    main()
