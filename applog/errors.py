"""Every error of this package. Exit codes as in ``retention.errors``; 5 is input."""

from typing import ClassVar


class ApplogError(Exception):
    """Base class. Never raised itself; catch it only at a process boundary."""

    exit_code: ClassVar[int] = 1
    hint: ClassVar[str] = ""


class NotACaptureError(ApplogError):
    """The file is not a capture that can be read at all; nothing of it was stored."""

    exit_code = 5
    hint = "expected pcap or pcapng, plain or compressed with gzip or zstd"


class AlreadyImportedError(ApplogError):
    """The same bytes were imported before; nothing was stored again."""

    exit_code = 5
    hint = "give --again to import it once more under another run number"


class ProfileChangedError(ApplogError):
    """An interrupted import can only go on with the profile it was begun with."""

    exit_code = 5
    hint = "give the same --profile; afterwards --again imports the file with another one"


class QueryError(ApplogError):
    """A search that cannot be run; nothing was run."""

    exit_code = 5

    def __init__(self, column: int, reason: str) -> None:
        super().__init__(f"column {column}: {reason}")
        self.column = column
        self.reason = reason


class TimeError(ApplogError):
    """A time that cannot be read."""

    exit_code = 5
    hint = "write 2026-11-22 10:15, 22/11/2569 10:15:30, 2h, 90d, today or yesterday"


class SettingsError(ApplogError):
    """A configuration key or value that is not known."""

    exit_code = 5


class CaptureAccessError(ApplogError):
    """A capture cannot be opened."""

    exit_code = 5
    hint = "check the path and its permissions"


class FileAccessError(ApplogError):
    """A file that was named cannot be read or written."""

    exit_code = 5
    hint = "check the path and its permissions"


class SearchError(ApplogError):
    """A search that was understood but could not be finished."""

    exit_code = 6
    hint = "narrow the search with --since and --until, or lower the limit"


class KeeperBusyError(ApplogError):
    """Another keeper works on the same store."""

    exit_code = 6
    hint = "it does everything that is needed: applog status; or stop it first"


class KeeperError(ApplogError):
    """The keeper cannot be asked, or has refused."""

    exit_code = 6
    hint = "start it with: applog keeper, or applog run"


class NotSealedError(ApplogError):
    """Journals of some datasets could not be sealed now; nothing of them was changed."""

    exit_code = 6
    hint = "see to what it says, then run: applog seal; a running keeper tries again by itself"


class ChildError(ApplogError):
    """Work that was given to a process of its own failed there, or could not do all of it."""

    exit_code = 6


class PositionError(ApplogError):
    """A record's position that cannot be read, or does not exist."""

    exit_code = 5
    hint = "write DATASET/SEGMENT:ROW, as in flow/12:345"
