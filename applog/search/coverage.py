"""What is known to be missing from a range: said with every answer.

Rules:
    1. Every ``coverage`` record that overlaps the range is counted; none is left out of the count.
    2. Coverage records that cannot be read are said: what they noted may be missing too.
    3. Nothing noted is said as such; it is not called complete, for nobody watched the wire live.
"""

from collections import Counter
from dataclasses import dataclass

import pyarrow.compute as pc

from retention.records import COVERAGE
from retention.store import Store

NOT_A_LOSS = "not-ip"
"""Frames that no record is made of: ARP, spanning tree. Counted and kept, but nothing is missing."""

_COLUMNS = ["@timestamp", "event.end", "coverage.reason", "coverage.packets", "coverage.flows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageStatement:
    """What the coverage records of a range add up to."""

    records: int
    reasons: dict[str, tuple[int, int]]
    """Reason → (records, packets known to be in none of the other datasets)."""
    damages: tuple[str, ...] = ()
    """What of the coverage records cannot be read, in words."""

    def lines(self) -> list[str]:
        """The statement for a person."""
        losses = [
            f"{reason} ({records:,}" + (f": {packets:,} packets)" if packets else ")")
            for reason, (records, packets) in sorted(self.reasons.items())
            if reason != NOT_A_LOSS
        ]
        damaged = [f"coverage: damaged, so more may be missing: {damage}" for damage in self.damages]
        if losses:
            return [
                f"coverage: not everything in this range is recorded: {', '.join(losses)}",
                "          see: applog search dataset:coverage",
                *damaged,
            ]
        return damaged or ["coverage: no loss is noted; these are imported files, nobody watched live"]


def coverage_of(store: Store, since: int | None, until: int | None) -> CoverageStatement:
    """What is noted as lost between *since* (included) and *until* (excluded), UTC µs; None is open."""
    contents = store.read(COVERAGE, _COLUMNS)
    table = contents.table
    start = table["@timestamp"].cast("int64")
    end = pc.coalesce(table["event.end"].cast("int64"), start)
    if until is not None:
        table, start, end = (part.filter(pc.less(start, until)) for part in (table, start, end))
    if since is not None:
        table = table.filter(pc.greater_equal(end, since))
    records: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for row in table.to_pylist():
        records[row["coverage.reason"]] += 1
        packets[row["coverage.reason"]] += row["coverage.packets"] or 0
    return CoverageStatement(
        records=table.num_rows,
        reasons={reason: (count, packets[reason]) for reason, count in records.items()},
        damages=tuple(map(str, contents.damages)),
    )
