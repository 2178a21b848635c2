"""The records of this package: what was not watched, and who looked.

Rules:
    1. ``coverage`` says what is missing from the other datasets, with its cause and its extent.
    2. ``audit`` says what a person did; a look is written before its answer is shown.
"""

import msgspec

from retention.dataset import Dataset, Record, SubjectChoice, Timestamp


class Coverage(Record, frozen=True, kw_only=True):
    """What was lost or not watched, from one source, for one reason."""

    end: Timestamp | None = msgspec.field(name="event.end", default=None)
    """Until when; @timestamp says from when. Absent: a moment. UTC µs."""

    source: str = msgspec.field(name="coverage.source")
    """Who noticed: ``file:<digest>.<run>`` for an imported capture, later an interface or feed."""

    reason: str = msgspec.field(name="coverage.reason")
    """Cause, one of the words of COVERAGE_REASONS in the producer's documentation."""

    detail: str | None = msgspec.field(name="coverage.detail", default=None)
    """Where and what exactly, for a person to read."""

    packets: int | None = msgspec.field(name="coverage.packets", default=None)
    """Packets that are in no record because of this. Absent: cannot be counted."""

    bytes: int | None = msgspec.field(name="coverage.bytes", default=None)
    """Bytes of input that are in no record because of this. Absent: cannot be counted."""

    flows: int | None = msgspec.field(name="coverage.flows", default=None)
    """Flows cut, evicted or left without a name because of this."""


class Audit(Record, frozen=True, kw_only=True):
    """What a person did through the product."""

    action: str = msgspec.field(name="event.action")
    """init, import, search, status …: the verb."""

    outcome: str = msgspec.field(name="event.outcome")
    """success, failure or unknown (ECS)."""

    reason: str | None = msgspec.field(name="event.reason", default=None)
    """Why, as the person gave it, or why it failed."""

    user_id: str | None = msgspec.field(name="user.id", default=None)
    """The operating system's user number, for commands. Source: getuid(2)."""

    user_name: str = msgspec.field(name="user.name")
    """The actor: the operating system's user name, for commands. Source: the password database."""

    claimed_name: str | None = msgspec.field(name="audit.claimed_name", default=None)
    """The name given with ``--as``: said, not proved."""

    query: str | None = msgspec.field(name="audit.query", default=None)
    """The search as typed."""

    dataset: str | None = msgspec.field(name="audit.dataset", default=None)
    """The dataset that was looked at."""

    since: Timestamp | None = msgspec.field(name="audit.from", default=None)
    """Start of the range looked at, UTC µs. Absent: from the beginning."""

    until: Timestamp | None = msgspec.field(name="audit.until", default=None)
    """End of the range looked at, UTC µs. Absent: to the end."""

    results: int | None = msgspec.field(name="audit.results", default=None)
    """How many records matched."""

    shown: int | None = msgspec.field(name="audit.shown", default=None)
    """How many records were shown or written."""

    file_path: str | None = msgspec.field(name="file.path", default=None)
    """The file that was read."""

    file_blake3: str | None = msgspec.field(name="file.hash.blake3", default=None)
    """BLAKE3 of that file's bytes, hexadecimal: which file it was, not a proof of anything."""

    run: int | None = msgspec.field(name="audit.run", default=None)
    """How often this file had been imported before (0: the first time)."""

    profile: str | None = msgspec.field(name="audit.profile", default=None)
    """The recording profile that was used."""

    rows: int | None = msgspec.field(name="audit.rows", default=None)
    """Records that the action added to the store."""


COVERAGE = Dataset(
    name="coverage",
    record=Coverage,
    subject=(SubjectChoice(kind="source", column="coverage.source"),),
)

AUDIT = Dataset(
    name="audit",
    record=Audit,
    subject=(SubjectChoice(kind="actor", column="user.name"),),
    commit_within_ms=20,
)
