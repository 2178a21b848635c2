"""How many rows wait to be sealed, counted without a key.

Rules:
    1. Rows are counted by the headers of whole frames; a file is read again only when it grew.
"""

from dataclasses import dataclass, field
from pathlib import Path

from retention.errors import JournalDamagedError
from retention.journal import files
from retention.journal.frame import FoundFrame, scan


@dataclass(kw_only=True)
class Backlog:
    """The unsealed rows of a store. Used by one thread."""

    journals: Path
    _counted: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """File → size, and rows at that size."""

    def rows(self, dataset: str) -> int:
        """Rows in the journals of *dataset*; files that cannot be read count for nothing."""
        counted: dict[Path, tuple[int, int]] = {}
        for directory in sorted((self.journals / dataset).glob("*")):
            for path in files.numbered(directory).values() if directory.is_dir() else ():
                counted[path] = self._count(path)
        self._counted = {
            path: known for path, known in self._counted.items() if path.parent.parent.name != dataset
        } | counted
        return sum(rows for _, rows in counted.values())

    def _count(self, path: Path) -> tuple[int, int]:
        try:
            size = path.stat().st_size
            if (known := self._counted.get(path)) is not None and known[0] == size:
                return known
            data = path.read_bytes()
            header, length = files.header_of(path, data)
        except (JournalDamagedError, OSError):
            return 0, 0
        whole = scan(data, length, files.start_hash(header))
        return len(data), sum(found.header.rows for found in whole if isinstance(found, FoundFrame))
