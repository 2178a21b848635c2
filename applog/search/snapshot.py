"""What is stored of a dataset at one moment, as sources of a search.

Rules:
    1. Every row is in exactly one source: sealed, or still in a journal (``retention.store`` rule 4).
    2. A segment whose manifest's times do not meet the range is left out.
    3. A segment whose file is gone has expired if the ledger says so: its manifest says what there was.
       Any other that is gone is damage, in the range or where the range is open (``receipts``).
    4. A manifest that the ledger does not bear out is damage whatever the range is: its times may be a lie.
    5. What of the journals cannot be read is said; what of the segments, their reader finds out.
    6. The ledger is read before the manifests, and again after them for a file that is missing: what is
       sealed or expires meanwhile is no damage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from applog.search.sealed import SegmentSource
from applog.search.sources import Source, TableSource, meets
from retention.dataset import Dataset
from retention.errors import RetentionError
from retention.receipts import Receipts, receipts_of
from retention.segment.manifest import Manifest
from retention.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What is stored of a dataset, as far as it may meet a range."""

    sources: tuple[Source, ...]
    """Segments in the order of their sealing, then the journals."""
    expired: tuple[Manifest, ...]
    """Segments that met the range and were deleted in their time."""
    damages: tuple[RetentionError, ...]
    """What of the journals or the ledger cannot be read, segments of the range that are missing, and every
    manifest that is not as it was sealed."""
    first: int | None
    """Earliest moment of all that is stored or should be, in the range or not, UTC µs. None: nothing is."""
    last: int | None
    """Latest moment of all that is stored or should be, UTC µs."""

    def has_vanished(self) -> bool:
        """Whether the file of one of its segments was deleted since."""
        return any(
            isinstance(source, SegmentSource) and not source.sealed.path.exists() for source in self.sources
        )


def sources_of(
    store: Store, dataset: Dataset, since: int | None = None, until: int | None = None
) -> Snapshot:
    """What *store* holds of *dataset*, without what cannot lie in ``[since, until)`` (UTC µs; None: open).

    Raises:
        RetentionError: the journals or manifests cannot be read at all.
    """
    said = receipts_of(store.root, dataset.name)
    contents = store.journal(dataset)
    found = store.catalogue.sealed(dataset.name)
    segments = [
        SegmentSource(store, dataset, one) for one in found if one.manifest.count and said.is_genuine(one)
    ]
    expired, missing = _gone([one for one in segments if not one.sealed.present], said)
    past = {one.name for one in expired}
    kept: list[Source] = [one for one in segments if one.name not in past]
    kept.append(TableSource("journal", contents.table))
    lost = {one.name for one in missing}
    return Snapshot(
        sources=tuple(one for one in kept if one.name not in lost and meets(one, since, until)),
        expired=tuple(one.sealed.manifest for one in expired if meets(one, since, until)),
        damages=(
            *contents.damages,
            *said.damages,
            *said.contradictions(found),
            *said.missing([one.sealed for one in missing if meets(one, since, until)]),
        ),
        first=min((one.first for one in kept if one.first is not None), default=None),
        last=max((one.last for one in kept if one.last is not None), default=None),
    )


def _gone(
    segments: Sequence[SegmentSource], said: Receipts
) -> tuple[list[SegmentSource], list[SegmentSource]]:
    """Which of *segments* without a file have expired, and which are missing."""
    if segments and not all(said.has_expired(one.sealed.manifest.sequence) for one in segments):
        said = receipts_of(segments[0].store.root, said.dataset)  # they may have expired just now
    expired = [one for one in segments if said.has_expired(one.sealed.manifest.sequence)]
    return expired, [one for one in segments if not said.has_expired(one.sealed.manifest.sequence)]
