"""What is known to be missing from a range: said with every answer.

Rules:
    1. Every ``coverage`` record that overlaps the range is counted; none is left out of the count.
    2. Coverage records that cannot be read are said: what they noted may be missing too.
    3. So are those that have expired.
    4. Nothing noted is said as such; it is not called complete, for nobody watched the wire live.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from applog.search.snapshot import Snapshot, sources_of
from applog.search.sources import span_in
from retention.errors import RetentionError
from retention.records import COVERAGE
from retention.store import Store

NOT_A_LOSS = "not-ip"
"""Frames that no record is made of: ARP, spanning tree. Counted and kept, but nothing is missing."""

_COLUMNS = ["@timestamp", "event.end", "coverage.reason", "coverage.packets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageStatement:
    """What the coverage records of a range add up to."""

    records: int
    reasons: dict[str, tuple[int, int]]
    """Reason → (records, packets known to be in none of the other datasets)."""
    expired: int = 0
    """Segments of coverage records of this range that were deleted after their retention."""
    damages: tuple[str, ...] = ()
    """What of the coverage records cannot be read, in words."""

    def lines(self) -> list[str]:
        """The statement for a person."""
        losses = [
            f"{reason} ({records:,}" + (f": {packets:,} packets)" if packets else ")")
            for reason, (records, packets) in sorted(self.reasons.items())
            if reason != NOT_A_LOSS
        ]
        unknown = [f"coverage: damaged, so more may be missing: {damage}" for damage in self.damages]
        if self.expired:
            unknown.append("coverage: some of its records have expired, so more may be missing")
        if losses:
            return [
                f"coverage: not everything in this range is recorded: {', '.join(losses)}",
                "          see: applog search dataset:coverage",
                *unknown,
            ]
        return unknown or ["coverage: no loss is noted; these are imported files, nobody watched live"]


def coverage_of(store: Store, since: int | None, until: int | None) -> CoverageStatement:
    """What is noted as lost between *since* (included) and *until* (excluded), UTC µs; None is open."""
    while True:
        snapshot = sources_of(store, COVERAGE, since, until)
        records, packets, damages = _summed(snapshot, since, until)
        if not (damages and snapshot.has_vanished()):  # else it may have expired just now: once more
            break
    return CoverageStatement(
        records=records.total(),
        reasons={reason: (count, packets[reason]) for reason, count in records.items()},
        expired=len(snapshot.expired),
        damages=tuple(map(str, (*snapshot.damages, *damages))),
    )


def _summed(
    snapshot: Snapshot, since: int | None, until: int | None
) -> tuple[Counter[str], Counter[str], list[RetentionError]]:
    """Records and packets of each reason, and what of the segments cannot be read."""
    records: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    damages: list[RetentionError] = []
    for source in snapshot.sources:
        try:
            with source.opened() as rows:
                found = _in_range(rows.table(_COLUMNS), since, until)
        except RetentionError as error:
            damages.append(error)
            continue
        reasons = found["coverage.reason"].cast(pa.string())
        for reason, lost in zip(reasons.to_pylist(), found["coverage.packets"].to_pylist(), strict=True):
            records[reason] += 1
            packets[reason] += lost or 0
    return records, packets, damages


def _in_range(table: pa.Table, since: int | None, until: int | None) -> pa.Table:
    start, end = span_in(table)
    kept = np.ones(table.num_rows, np.bool_)
    if since is not None:
        kept &= end >= since
    if until is not None:
        kept &= start < until
    return table.filter(pa.array(kept))
