"""Which segments there are, for which dataset and time. Read from the manifests themselves.

Rules (docs/decisions/0007):
    1. Manifests never change under a name, inode and time, so what was read once is kept; ``refresh`` reads
       only what is new. There is no second copy on the disk that could disagree.
    2. The catalogue says what lies there; whether it is what was sealed, ``retention.verify`` says.
    3. The last sealed file of each journal is known from here: its number is never given again.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from retention.durable import read_file
from retention.errors import SegmentError
from retention.segment.manifest import Manifest

SEGMENT, MANIFEST = ".segment", ".manifest"
_Identity: TypeAlias = tuple[int, int, int]
"""Inode, time of change in ns, size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedEnd:
    """Where the sealed part of a (dataset, writer) journal ends."""

    file: int
    frames: int
    head: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """One manifest as it lies on the disk."""

    manifest: Manifest
    encoded: bytes
    """The manifest's exact bytes."""
    path: Path
    """Of the segment's file."""
    present: bool
    """Whether that file is there: not for periods without rows, nor after expiry."""


class Catalogue:
    """The manifests of a store."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, str, _Identity], tuple[Manifest, bytes]] = {}
        self._sealed: dict[str, list[Sealed]] = {}

    def refresh(self) -> None:
        """Read what is new.

        Raises:
            SegmentError: a manifest is not one, or a name is missing between others.
        """
        known: dict[tuple[str, str, _Identity], tuple[Manifest, bytes]] = {}
        sealed: dict[str, list[Sealed]] = {}
        for directory in sorted(self._root.iterdir()) if self._root.exists() else ():
            if not directory.is_dir():
                continue
            with os.scandir(directory) as entries:
                names = {entry.name: _identity(entry) for entry in entries}
            numbers = sorted(int(name[:8]) for name in names if is_name(name, MANIFEST))
            if numbers != list(range(len(numbers))):
                gap = next(at for at, number in enumerate([*numbers, -1]) if at != number)
                raise SegmentError(f"segment {directory.name}/{gap:08d}: its manifest is missing")
            for number in numbers:
                sealed.setdefault(directory.name, []).append(self._load(directory, number, names, known))
        self._known, self._sealed = known, sealed

    def _load(
        self,
        directory: Path,
        number: int,
        names: dict[str, _Identity],
        known: dict[tuple[str, str, _Identity], tuple[Manifest, bytes]],
    ) -> Sealed:
        name = f"{number:08d}"
        key = (directory.name, name, names[name + MANIFEST])
        loaded = self._known.get(key)
        if loaded is None:
            try:
                encoded = read_file(directory / (name + MANIFEST))
            except OSError as error:
                raise SegmentError(f"manifest {directory.name}/{name}: {error.strerror}") from error
            loaded = (Manifest.parse(encoded, f"{directory.name}/{name}"), encoded)
        known[key] = loaded
        manifest, encoded = loaded
        path = directory / (name + SEGMENT)
        return Sealed(manifest=manifest, encoded=encoded, path=path, present=path.name in names)

    def datasets(self) -> list[str]:
        """Names of the datasets that have manifests."""
        return sorted(self._sealed)

    def sealed(self, dataset: str) -> list[Sealed]:
        """Manifests of *dataset* in their order."""
        return self._sealed.get(dataset, [])

    def end_of(self, dataset: str, writer: str) -> SealedEnd | None:
        """Where the sealed part of the writer's journal ends; None: nothing of it is sealed."""
        for sealed in reversed(self.sealed(dataset)):
            for journal in sealed.manifest.journals:
                if journal.writer == writer:
                    return SealedEnd(
                        file=journal.last, frames=journal.frames, head=bytes.fromhex(journal.head)
                    )
        return None


def is_name(name: str, suffix: str) -> bool:
    """Whether *name* is that of a manifest or segment."""
    return re.fullmatch(rf"[0-9]{{8}}{re.escape(suffix)}", name) is not None


def _identity(entry: "os.DirEntry[str]") -> _Identity:
    found = entry.stat(follow_symlinks=False)
    return found.st_ino, found.st_mtime_ns, found.st_size
