"""What is stored of a dataset at one moment, as sources of a search.

Rules:
    1. Every row is in exactly one source: sealed, or still in a journal (``retention.store`` rule 4).
    2. A segment whose manifest's times do not meet the range is left out.
    3. A segment whose file is gone and whose 90 days are over has expired: its manifest says what there was.
       One that is gone earlier is damage.
    4. What of the journals cannot be read is said; what of the segments, their reader finds out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from applog.search.sealed import SegmentSource
from applog.search.sources import Source, TableSource, meets
from retention.dataset import Dataset
from retention.errors import RetentionError, SegmentError
from retention.ledger.state import FLOOR_DAYS
from retention.segment.manifest import Manifest
from retention.store import Store
from retention.times import US_PER_DAY, from_iso


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What is stored of a dataset, as far as it may meet a range."""

    sources: tuple[Source, ...]
    """Segments in the order of their sealing, then the journals."""
    expired: tuple[Manifest, ...]
    """Segments that met the range, or what is stored where it is open, and were deleted in their time."""
    damages: tuple[RetentionError, ...]
    """What of the journals cannot be read, and segments of the range that are missing."""
    first: int | None
    """Earliest moment of all that is stored, in the range or not, UTC µs. None: nothing is stored."""
    last: int | None
    """Latest moment of all that is stored, UTC µs."""


def sources_of(
    store: Store, dataset: Dataset, since: int | None = None, until: int | None = None
) -> Snapshot:
    """What *store* holds of *dataset*, without what cannot lie in ``[since, until)`` (UTC µs; None: open).

    Raises:
        RetentionError: the journals or manifests cannot be read at all.
    """
    contents = store.journal(dataset)
    sealed = [
        SegmentSource(store, dataset, one)
        for one in store.catalogue.sealed(dataset.name)
        if one.manifest.count
    ]
    present: list[Source] = [segment for segment in sealed if segment.sealed.present]
    present.append(TableSource("journal", contents.table))
    first = min((source.first for source in present if source.first is not None), default=None)
    last = max((source.last for source in present if source.last is not None), default=None)
    searched = (first if since is None else since, last if until is None or last is None else until)
    expired, missing = _gone([one for one in sealed if not one.sealed.present], store.clock(), searched)
    return Snapshot(
        sources=tuple(source for source in present if meets(source, since, until)),
        expired=expired,
        damages=(*contents.damages, *missing),
        first=first,
        last=last,
    )


def _gone(
    segments: Sequence[SegmentSource], now: int, searched: tuple[int | None, int | None]
) -> tuple[tuple[Manifest, ...], tuple[RetentionError, ...]]:
    """Which of *segments* without a file that meet the range have expired, and which are missing."""
    expired: list[Manifest] = []
    missing: list[RetentionError] = []
    for segment in segments:
        manifest = segment.sealed.manifest
        if not meets(segment, *searched):
            continue
        if from_iso(manifest.until) + FLOOR_DAYS * US_PER_DAY <= now:
            expired.append(manifest)
        else:
            missing.append(
                SegmentError(f"segment {segment.name}: its file is missing, and it cannot have expired yet")
            )
    return tuple(expired), tuple(missing)
