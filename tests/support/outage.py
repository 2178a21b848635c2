"""A disk that forgets what was not synced: the power fails at any call, and only what was durable is left.

Beside ``power.Power``, after which everything that was written is still there. The model is the pessimistic
one of POSIX: a file has the content of its last fsync; a name is there, or gone, since the last fsync of its
directory. What a real disk may keep beyond that is one of ``Forgetful``'s variants.

Rules:
    1. Only files below the root are watched. Everything that lies there at the beginning is durable.
    2. ``crash`` puts the tree back as a machine finds it that starts again; descriptors that are still open
       belong to the dead process, and their locks with them: the files are new ones.
"""

import itertools
import os
import random
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.power import PowerCutError

CALLS = ("open", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "truncate", "mkdir")
"""What reaches the disk and is counted; an ``open`` only where it makes or empties a file."""

Names = dict[str, int]
"""Name → inode."""


@dataclass(frozen=True)
class Variant:
    """What the disk kept of that which nobody synced."""

    name: str
    names: str
    """lost, kept, or some: the first few changes of each directory, in their order."""
    content: str
    """lost, kept, half of what was added, zeros of the right length, or some: any of these, by file."""


VARIANTS = (
    Variant("nothing", "lost", "lost"),
    Variant("names", "kept", "lost"),
    Variant("names-and-zeros", "kept", "zeros"),
    Variant("names-and-half", "kept", "half"),
    Variant("content", "lost", "kept"),
    Variant("everything", "kept", "kept"),
    Variant("some", "some", "some"),
)


@dataclass
class Forgetful:
    """Watches *root* through ``os``, and cuts the power."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    calls: list[str] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)
    """Every checkpoint that had its public name, in order."""
    _step: int | None = None
    _content: dict[int, bytes] = field(default_factory=dict)
    """Inode → durable content."""
    _names: dict[int, Names] = field(default_factory=dict)
    """Directory's inode → durable names."""
    _changes: dict[int, list[tuple[str, int | None]]] = field(default_factory=dict)
    """Directory's inode → names made (with inode) or taken away since its last fsync, in order."""
    _kept: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Take what is there as durable, and begin to watch."""
        self._graves = self.root.with_name(self.root.name + ".graves")
        self._graves.mkdir()
        self._real = {name: getattr(os, name) for name in (*CALLS, "close", "replace")}
        for directory in [self.root, *(one for one in self.root.rglob("*") if one.is_dir())]:
            self._names[directory.stat().st_ino] = _listing(directory)
        for path in (one for one in self.root.rglob("*") if one.is_file()):
            self._content[path.stat().st_ino] = path.read_bytes()
        watched = {"open": self._open, "write": self._write, "fsync": self._fsync, "fdatasync": self._fsync}
        watched["pwrite"] = self._pwrite
        watched |= {"rename": self._rename, "unlink": self._unlink, "truncate": self._truncate}
        for name, call in {**watched, "mkdir": self._mkdir}.items():
            self.monkeypatch.setattr(os, name, call)
        self.monkeypatch.setattr(threading, "excepthook", lambda _: None)  # a writer's thread dies with it

    def cut(self, step: int) -> None:
        """Cut the power before call number *step* from now on (0: the next)."""
        self.calls.clear()
        self._step = step

    def mend(self) -> None:
        """Nothing is cut any more."""
        self._step = None

    def crash(self, variant: Variant, seed: int = 0) -> None:
        """The machine is off and starts again: put back what *variant* leaves; nothing fails any more."""
        self._step = None
        chance = random.Random(seed)
        tree = dict(self._left(self.root.stat().st_ino, self.root, variant, chance))
        for child in self.root.iterdir():
            shutil.rmtree(child) if child.is_dir() else self._real["unlink"](child)
        for path, (mode, data) in tree.items():
            if data is None:
                self._real["mkdir"](path, mode)
            else:
                path.write_bytes(data)
                path.chmod(mode)
        self._content.clear()
        self._names.clear()
        self._changes.clear()
        for directory in [self.root, *(one for one in self.root.rglob("*") if one.is_dir())]:
            self._names[directory.stat().st_ino] = _listing(directory)
        for path in (one for one in self.root.rglob("*") if one.is_file()):
            self._content[path.stat().st_ino] = path.read_bytes()

    # What is left

    def _left(
        self, inode: int, path: Path, variant: Variant, chance: random.Random
    ) -> Iterator[tuple[Path, tuple[int, bytes | None]]]:
        for name, child in sorted(self._names_left(inode, variant, chance).items()):
            found = self._found[child]
            mode = stat.S_IMODE(found.stat().st_mode)
            if found.is_dir():
                yield path / name, (mode, None)
                yield from self._left(child, path / name, variant, chance)
            else:
                yield path / name, (mode, self._content_left(child, found.read_bytes(), variant, chance))

    @property
    def _found(self) -> dict[int, Path]:
        """Where each inode can be read now."""
        places = [*self.root.rglob("*"), *self._graves.iterdir()]
        return {place.lstat().st_ino: place for place in places}

    def _names_left(self, inode: int, variant: Variant, chance: random.Random) -> Names:
        names = dict(self._names.get(inode, {}))
        changes = self._changes.get(inode, [])
        upto = {"lost": 0, "kept": len(changes), "some": chance.randint(0, len(changes))}[variant.names]
        for name, child in changes[:upto]:
            if child is None:
                names.pop(name, None)
            else:
                names[name] = child
        return names

    def _content_left(self, inode: int, now: bytes, variant: Variant, chance: random.Random) -> bytes:
        durable = self._content.get(inode, b"")
        how = (
            variant.content if variant.content != "some" else chance.choice(("lost", "kept", "half", "zeros"))
        )
        if how == "lost" or now == durable:
            return durable
        if how == "kept":
            return now
        pairs = zip(durable, now, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if how == "half":
            return now[: same + (len(now) - same) // 2]
        return now[:same] + bytes(len(now) - same)

    # The calls

    def _count(self, name: str) -> None:
        step = len(self.calls)
        if self._step is not None and step >= self._step:
            raise PowerCutError(f"{name}, call {self._step}")
        self.calls.append(name)

    def _watches(self, path: Any) -> bool:
        return not isinstance(path, int) and Path(path).is_relative_to(self.root)

    def _change(self, path: Any, inode: int | None) -> None:
        where = Path(path)
        self._changes.setdefault(where.parent.stat().st_ino, []).append((where.name, inode))

    def _bury(self, path: Any) -> None:
        """Keep an inode that loses its name: a crash may give it back, and nothing else takes its number."""
        if Path(path).exists():
            os.link(path, self._graves / str(next(self._kept)))

    def _open(self, path: Any, flags: int, *args: Any, **named: Any) -> int:
        makes = bool(flags & (os.O_CREAT | os.O_TRUNC)) and self._watches(path)
        existed = makes and Path(path).exists()
        if makes and not (existed and not flags & os.O_TRUNC):
            self._count("open")
        descriptor: int = self._real["open"](path, flags, *args, **named)
        if makes and not existed:
            self._change(path, os.fstat(descriptor).st_ino)
        return descriptor

    def _write(self, descriptor: int, data: Any) -> int:
        if self._place(descriptor) is not None:
            self._count("write")
        written: int = self._real["write"](descriptor, data)
        return written

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        if self._place(descriptor) is not None:
            self._count("pwrite")
        written: int = self._real["pwrite"](descriptor, data, offset)
        return written

    def _place(self, descriptor: int) -> Path | None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        return place if place.is_relative_to(self.root) else None

    def _fsync(self, descriptor: int) -> None:
        place = self._place(descriptor)
        if place is None:
            return
        self._count("fsync")
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = _listing(place)
            self._changes.pop(found.st_ino, None)
        else:
            self._content[found.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def _rename(self, source: Any, target: Any, **named: Any) -> None:
        if not self._watches(target):
            self._real["rename"](source, target, **named)
            return
        self._count("rename")
        self._bury(target)
        inode = Path(source).stat().st_ino
        self._real["rename"](source, target, **named)
        self._change(source, None)
        self._change(target, inode)
        if Path(target) == self.root / "ledger" / "checkpoint":
            self.published.append(Path(target).read_bytes())

    def _unlink(self, path: Any, **named: Any) -> None:
        if self._watches(path) and Path(path).exists():
            self._count("unlink")
            self._bury(path)
            self._real["unlink"](path, **named)
            self._change(path, None)
        else:
            self._real["unlink"](path, **named)

    def _truncate(self, path: Any, length: int) -> None:
        self._count("truncate")
        self._real["truncate"](path, length)

    def _mkdir(self, path: Any, *args: Any, **named: Any) -> None:
        if self._watches(path):
            self._count("mkdir")
        self._real["mkdir"](path, *args, **named)
        if self._watches(path):
            self._change(path, Path(path).stat().st_ino)


def _listing(directory: Path) -> Names:
    return {one.name: one.lstat().st_ino for one in directory.iterdir()}
