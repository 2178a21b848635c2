"""Which keys nothing needs any more, so that they can be destroyed.

Rules (FORMAT.md 4, 10.3):
    1. A key that a journal file still needs stays: journals are read and sealed whenever their day was, also
       those of unknown datasets and under other names. One that cannot be read may be of any day.
    2. Only days before yesterday, by every clock that is asked: a writer may be about to use a later one.
    3. The public half of a journal's pair goes first: nobody must write to a key that opens nothing.
"""

import datetime as dt
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from retention.durable import open_file
from retention.errors import StoreError
from retention.journal.frame import MAX_FILE_HEADER_BYTES, Malformed, unpack_file_header
from retention.keys import Recipients
from retention.times import day_of

_log = logging.getLogger(__name__)

_TEMPORARY = re.compile(r"\.[0-9]{8}\.journal\.[0-9]+\.tmp")


def is_past(day: dt.date, *clocks: int) -> bool:
    """Whether *day* was before yesterday by each of *clocks* (UTC µs). Pure."""
    return day < day_of(min(clocks)) - dt.timedelta(days=1)


def journal_days(directories: Iterable[Path]) -> set[dt.date] | None:
    """UTC days of the keys that the journal files in *directories* are sealed to, by their headers.

    None: one cannot be read, so any day may be needed. Also misnamed files count, whoever put them aside.
    """
    days = set()
    for directory in directories:
        for path in directory.glob("*.journal*"):
            if _TEMPORARY.fullmatch(path.name):
                continue  # never got its name, so nothing in it counts; one that is being made is of today
            try:
                with open_file(path) as file:
                    header, _ = unpack_file_header(file.read(MAX_FILE_HEADER_BYTES + 64))
            except (OSError, Malformed) as error:
                _log.warning("keys are kept for the sake of %s, which cannot be read: %s", path, error)
                return None
            days.add(dt.date.fromisoformat(header.day))
    return days


def shred_recipients(recipients: Recipients, journals: Path, *, now: int, ledger_time: int) -> list[dt.date]:
    """Destroy the journal key pairs of past days whose journals are all sealed; the days.

    Past is before yesterday, by the local clock *now* and by the newest ledger entry, *ledger_time* (UTC µs).
    A journal file of the day, of any dataset and writer under *journals*, keeps the pair; a torn end that was
    set aside does not: without its file's header nothing opens it.

    Raises:
        StoreError: the disk refused; call again to finish.
    """
    needed = journal_days(journals.glob("*/*"))
    if needed is None:
        return []
    gone = [day for day in recipients.days() if is_past(day, now, ledger_time) and day not in needed]
    for day in gone:
        try:
            recipients.shred(day)
        except OSError as error:
            raise StoreError(f"journal keys of {day} cannot be shredded: {error.strerror}") from error
    return gone
