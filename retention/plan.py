"""Which journal files go into which segment. Pure: a world of files in, groups out.

Rules (FORMAT.md 7.2, 7.8):
    1. Files of a journal are sealed in the order of their numbers, each in exactly one group.
    2. A group is of one UTC day of ``event.ingested`` and of about ``CAP_ROWS`` rows: it is split between
       files, and for live journals only at a moment before and behind which all of its files lie.
    3. Live groups leave no time out: each begins where the one before it ended. Where rows are older than
       that, the clock stepped back: a new epoch begins at the oldest of them.
    4. Imports have groups of their own, with the times of their rows.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from retention.times import US_PER_DAY, start_of

CAP_ROWS = 500_000
LIVE, IMPORT = "live", "import"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSpan:
    """A finished journal file, as far as planning needs it."""

    writer: str
    number: int
    day: str
    """UTC day of its rows, ISO."""
    rows: int
    first: int | None = None
    """Earliest ``event.ingested``, UTC µs. Absent: no rows."""
    last: int | None = None
    """Latest ``event.ingested``, UTC µs."""
    opened: int | None = None
    """When it was opened, UTC µs. Absent in files of applog 0.1."""

    void: bool = False
    """Whether whole frames stand behind its end that were never acknowledged."""

    def before(self, cut: int) -> bool:
        """Whether it belongs to the time before *cut*, UTC µs: by its rows, or else by its opening."""
        if self.last is not None:
            return self.last < cut
        return (start_of_day(self.day) if self.opened is None else self.opened) < cut


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """What one manifest will cover."""

    kind: str
    epoch: int
    since: int
    """Of ``event.ingested``, UTC µs, included."""
    until: int
    """Excluded."""
    files: tuple[FileSpan, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(file.rows for file in self.files)

    @property
    def waits(self) -> bool:
        """Whether it has to wait for rows: a manifest without any has no place for hashes of void frames."""
        return not self.rows and any(file.void for file in self.files)


def plan_imports(spans: Sequence[FileSpan]) -> list[Group]:
    """Groups of the finished files of one import journal, in order."""
    groups: list[list[FileSpan]] = []
    for span in spans:
        fits = groups and groups[-1][0].day == span.day
        if fits and sum(one.rows for one in groups[-1]) + span.rows <= CAP_ROWS:
            groups[-1].append(span)
        else:
            groups.append([span])
    return [_import_group(group) for group in groups]


def _import_group(files: list[FileSpan]) -> Group:
    first, last = _bounds(files)
    if first is None or last is None:
        first = last = start_of_day(files[0].day)
    return Group(kind=IMPORT, epoch=0, since=first, until=last + 1, files=tuple(files))


def plan_live(journals: Iterable[Sequence[FileSpan]], *, since: int, epoch: int, cut: int) -> list[Group]:
    """Groups of live *journals* (finished files of each, in order, all from before *cut*).

    *since* is where the newest live manifest ended (or the store began), in its *epoch*; all in UTC µs.
    """
    waiting = [list(journal) for journal in journals if journal]
    groups: list[Group] = []
    while waiting:
        day = min(journal[0].day for journal in waiting)
        fronts = [_front(journal, day) for journal in waiting]
        waiting = [journal for journal in waiting if journal]
        end = min(cut, start_of_day(day) + US_PER_DAY)
        *parts, final = _split([one for front in fronts for one in front])
        for part in parts:
            since, epoch = _add(groups, part, since=since, epoch=epoch, end=0)
        since, epoch = _add(groups, final, since=since, epoch=epoch, end=end)
    midnight = cut - cut % US_PER_DAY
    if since < midnight:
        groups.append(Group(kind=LIVE, epoch=epoch, since=since, until=midnight))
    return groups


def _front(journal: list[FileSpan], day: str) -> list[FileSpan]:
    """Take the files of *day* that stand at the front of *journal*."""
    front = []
    while journal and journal[0].day == day:
        front.append(journal.pop(0))
    return front


def _add(groups: list[Group], part: list[FileSpan], *, since: int, epoch: int, end: int) -> tuple[int, int]:
    """Add the group of *part*, and one for the time without rows before its day; the new end and epoch.

    It ends at *end*, or behind its last row.
    """
    first, last = _bounds(part)
    begin = start_of_day(part[0].day)
    if first is not None and first < since:
        since, epoch = first, epoch + 1
    elif since < begin:
        groups.append(Group(kind=LIVE, epoch=epoch, since=since, until=begin))
        since = begin
    until = max(end, since, 0 if last is None else last + 1)
    groups.append(Group(kind=LIVE, epoch=epoch, since=since, until=until, files=tuple(part)))
    return until, epoch


def _split(files: list[FileSpan]) -> list[list[FileSpan]]:
    """*files* of one day in parts of at most ``CAP_ROWS`` rows, where they can be parted in time."""
    if sum(one.rows for one in files) <= CAP_ROWS:
        return [files]
    for moment in sorted({one.last + 1 for one in files if one.last is not None}, reverse=True):
        before, behind = _parted(files, moment)
        rows = sum(one.rows for one in before)
        if before and behind and rows <= CAP_ROWS and _is_clean(behind, moment):
            return [before, *_split(behind)]
    for moment in sorted({one.last + 1 for one in files if one.last is not None}):
        before, behind = _parted(files, moment)
        if before and behind and _is_clean(behind, moment):
            return [before, *_split(behind)]
    return [files]


def _parted(files: list[FileSpan], moment: int) -> tuple[list[FileSpan], list[FileSpan]]:
    """The front of each journal that is wholly before *moment*, and the rest."""
    before: list[FileSpan] = []
    behind: list[FileSpan] = []
    begun: set[str] = set()
    for one in files:
        if one.writer not in begun and (one.last is None or one.last < moment):
            before.append(one)
        else:
            begun.add(one.writer)
            behind.append(one)
    return before, behind


def _is_clean(behind: list[FileSpan], moment: int) -> bool:
    """Whether *moment* parts them in time."""
    return all(one.first is None or one.first >= moment for one in behind)


def _bounds(files: Iterable[FileSpan]) -> tuple[int | None, int | None]:
    firsts = [one.first for one in files if one.first is not None]
    lasts = [one.last for one in files if one.last is not None]
    return min(firsts, default=None), max(lasts, default=None)


def start_of_day(day: str) -> int:
    """First microsecond of the UTC day *day*, ISO."""
    return start_of(dt.date.fromisoformat(day))
