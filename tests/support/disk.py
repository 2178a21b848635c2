"""A journal's world under a test's control: its clock, its disk and the bytes that lie there.

The disk is the real one; what fails is the call, before its effect ("failed") or after it ("persisted").
"""

import datetime as dt
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from retention.dataset import Dataset, Record, SubjectChoice
from retention.journal import JournalReader, JournalWriter
from retention.journal.files import numbered
from retention.keys import FileMasterKey, Recipients

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
NOON = 1_772_366_400_000_000
"""2026-03-01T12:00:00Z in µs."""


class Note(Record, frozen=True, kw_only=True):
    """The smallest record that is worth a line."""

    text: str = msgspec.field(name="message")
    number: int | None = msgspec.field(name="note.number", default=None)


NOTES = Dataset(
    name="notes",
    record=Note,
    subject=(SubjectChoice(kind="source", column="message"),),
    commit_within_ms=0,
)


def notes(*texts: str) -> pa.RecordBatch:
    """One row for each of *texts*."""
    return NOTES.batch(Note(timestamp=NOON, text=text) for text in texts)


@dataclass
class SimulatedClock:
    """A wall clock that moves only when told to."""

    now: int = NOON

    def __call__(self) -> int:
        """Now, UTC µs."""
        return self.now

    def move(self, microseconds: int) -> None:
        """Forward, or back."""
        self.now += microseconds


@dataclass
class Journal:
    """The journal of the writer ``pen`` in a directory of its own."""

    root: Path
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    dataset: Dataset = NOTES

    def __post_init__(self) -> None:
        """Make the keys, once."""
        self.root.mkdir(exist_ok=True)
        master = FileMasterKey(self.root / "master.key")
        if not (self.root / "master.key").exists():
            master.create()
        self.recipients = Recipients(self.root / "keys", master)
        self.recipients.make_ahead(
            dt.datetime.fromtimestamp(NOON / 1e6, dt.UTC).date() - dt.timedelta(days=2)
        )

    @property
    def directory(self) -> Path:
        """Where the files lie."""
        return self.root / self.dataset.name / "pen"

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return list(numbered(self.directory).values())

    def writer(self, wait_seconds: float = 5.0) -> JournalWriter:
        """A writer, started."""
        return JournalWriter(
            self.directory, self.dataset, self.recipients, clock=self.clock, wait_seconds=wait_seconds
        )

    def reader(self, *, deep: bool = True) -> JournalReader:
        """A reader that checks everything."""
        return JournalReader(
            directory=self.directory, dataset=self.dataset, recipients=self.recipients, deep=deep
        )

    def write(self, *texts: str) -> None:
        """One file with a frame for each of *texts*."""
        with self.writer() as writer:
            for text in texts:
                writer.append(notes(text))

    def texts(self) -> list[str]:
        """What can be read, in order; damage is not expected."""
        texts, damages = self.texts_and_damages()
        assert not damages, damages
        return texts

    def texts_and_damages(self, *, deep: bool = True) -> tuple[list[str], list[tuple[str, int]]]:
        """What can be read, in order, and the (file name, offset) of each damage."""
        reader = self.reader(deep=deep)
        texts = [text for frame in reader.frames() for text in frame.batch.column("message").to_pylist()]
        return texts, [(damage.path.name, damage.offset) for damage in reader.damages]


def flipped(data: bytes, offset: int, mask: int = 0xFF) -> bytes:
    """*data* with the bits *mask* of one byte exchanged."""
    changed = bytearray(data)
    changed[offset] ^= mask
    return bytes(changed)


def put(path: Path, data: bytes) -> None:
    """A new file in *path*'s place: much quicker than writing over one, which ext4 syncs."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Exchange the bits *mask* of one byte of a file, in place; once more undoes it."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


class Disk:
    """The calls that reach the disk, recorded in order, and failed or held up on demand."""

    CALLS = ("open", "write", "fsync", "fdatasync", "rename", "close")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.entered = threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self._held = ""
        self._fault: _Fault | None = None
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def hold(self, call: str) -> None:
        """Let the next *call* wait until ``release``; ``entered`` is set when it got there."""
        self._held = call
        self.entered.clear()
        self._gate.clear()

    def release(self) -> None:
        """Let what was held go on."""
        self._held = ""
        self._gate.set()

    def fail(self, step: int, form: str, *, times: int, code: int = errno.EIO) -> None:
        """Fail the call number *step* from now on (0: the next), and those of its name after it, *times*."""
        self.calls.clear()
        self._fault = _Fault(step, form, times, code)

    def repair(self) -> None:
        """Nothing fails any more."""
        self._fault = None

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            if name == "open" and only_reads(args[1]):
                return call(*args, **named)
            step = len(self.calls)
            self.calls.append(name)
            if name == self._held:
                self.entered.set()
                self._gate.wait(30)
            if self._fault is None or not self._fault.hits(step, name):
                return call(*args, **named)
            return self._fault.strike(name, call, args, named)

        return watched


def only_reads(flags: int) -> bool:
    """Whether a file is opened for reading alone; a directory is opened to be synced."""
    return not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_DIRECTORY)


@dataclass
class _Fault:
    step: int
    form: str
    times: int
    code: int
    name: str = ""

    def hits(self, step: int, name: str) -> bool:
        if step == self.step:
            self.name = name
        return name == self.name and step >= self.step and self.times > 0

    def strike(self, name: str, call: Callable[..., Any], args: Any, named: Any) -> Any:
        if name == "write" and self.form == "partial":
            self.form = "failed"  # a short write first; going on where it stopped then fails
            return call(args[0], bytes(args[1])[: len(args[1]) // 2])
        self.times -= 1
        if self.form == "persisted":
            done = call(*args, **named)
            if name == "open":
                os.close(done)
        elif name == "close":
            call(*args, **named)  # Linux gives the descriptor free whatever close answers
        raise OSError(self.code, os.strerror(self.code))
