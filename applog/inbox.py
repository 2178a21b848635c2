"""The watched folder: a capture put into it is imported and moved aside.

Rules:
    1. A file is taken when two looks in a row find the same size and time: nobody is writing to it.
    2. Imported files go to ``done/``; files that are no captures, or that meet a bug of ours, to
       ``refused/``, with the reason beside them. What cannot be read, and what the disk or the store
       refuses, stays and is tried again.
    3. Names that begin with a dot, directories and links are left alone.
"""

import logging
import stat
from dataclasses import dataclass, field
from pathlib import Path

from applog.errors import AlreadyImportedError, CaptureAccessError, NotACaptureError, ProfileChangedError
from applog.pipeline import Importer, open_capture
from retention.durable import make_directory
from retention.errors import RetentionError

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Inbox:
    """One watched folder."""

    folder: Path
    importer: Importer
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the folder and its two sub-folders."""
        for folder in (self.folder, self.folder / "done", self.folder / "refused"):
            make_directory(folder)

    def look(self) -> None:
        """Import what lies still since the last look."""
        seen: dict[Path, tuple[int, int]] = {}
        for path in sorted(self.folder.iterdir()):
            state = _state(path)
            if state is None:
                continue
            seen[path] = state
            if self._seen.get(path) == state:
                self._take(path)
        self._seen = seen

    def _take(self, path: Path) -> None:
        try:
            with open_capture(path) as stream:
                report = self.importer.run(path, stream)
        except AlreadyImportedError as error:
            _log.info("%s", error)
            self._move(path, "done")
        except (NotACaptureError, ProfileChangedError) as error:
            _log.warning("refused: %s", error)
            self._move(path, "refused", f"{error}\n{error.hint}\n")
        except (CaptureAccessError, RetentionError) as error:
            _log.error("%s stays in the inbox: %s (%s)", path.name, error, error.hint)
        except Exception as error:  # noqa: BLE001  a bug of ours must not stop the appliance at the same file for ever
            _log.exception("refused: a bug in applog, please report it")
            self._move(path, "refused", f"a bug in applog: {error!r}\n")
        else:
            counts = ", ".join(f"{count:,} {name}" for name, count in report.rows.items()) or "no records"
            _log.info("imported %s: %s packets; %s", path.name, f"{report.packets:,}", counts)
            for loss in report.losses:
                _log.warning("%s, not recorded: %s", path.name, loss)
            self._move(path, "done")

    def _move(self, path: Path, folder: str, reason: str = "") -> None:
        target = self.folder / folder / path.name
        number = 1
        while target.exists():
            number += 1
            target = self.folder / folder / f"{path.stem}-{number}{path.suffix}"
        try:
            if reason:
                target.with_name(f"{target.name}.reason.txt").write_text(reason, encoding="utf-8")
            path.rename(target)
        except OSError as error:
            _log.error(
                "%s stays in the inbox: it cannot be moved to %s: %s", path.name, folder, error.strerror
            )


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a regular file that may be taken."""
    if path.name.startswith("."):
        return None
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
