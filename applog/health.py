"""What is true now about the store, one function per question.

Rules:
    1. A figure is read, never remembered; what cannot be read is said.
    2. Of what is sealed, the manifests are read, not the rows: those are what ``verify`` holds against them.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.compute as pc

from applog.records import DNS, FLOW
from captive_portal.records import LEASE
from retention.dataset import Dataset
from retention.records import AUDIT, COVERAGE
from retention.store import Store
from retention.times import from_iso

DATASETS = (FLOW, DNS, LEASE, COVERAGE, AUDIT)
"""Every dataset, in the order in which people ask for them."""

_TIMES = ("@timestamp", "event.ingested", "event.end")


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetState:
    """What the segments and journals of a dataset hold."""

    name: str
    rows: int
    oldest: int | None
    """Earliest @timestamp, UTC µs."""
    newest: int | None
    """Latest @timestamp or event.end, UTC µs."""
    ingested: int | None
    """When the oldest of what is stored entered the store, UTC µs: its retention runs from there."""
    segments: int
    """Sealed segments that are there."""
    damages: tuple[str, ...]
    """What cannot be read, in words."""
    set_aside: tuple[str, ...]
    """Torn ends that a crash left, kept beside the journals."""


def dataset_state(store: Store, dataset: Dataset, *, deep: bool = False) -> DatasetState:
    """What is there of *dataset*; *deep* recomputes every line and chain hash of the journals as well."""
    columns = [name for name in dataset.schema.names if name in _TIMES]
    contents = store.journal(dataset, columns, deep=deep)
    sealed = [one.manifest for one in store.catalogue.sealed(dataset.name) if one.present]
    first, last = contents.span()
    ingested = pc.min(contents.table["event.ingested"].cast("int64")).as_py()
    return DatasetState(
        name=dataset.name,
        rows=contents.table.num_rows + sum(manifest.count for manifest in sealed),
        oldest=_least([first, *(_moment(manifest.first) for manifest in sealed)]),
        newest=_most([last, *(_moment(manifest.last) for manifest in sealed)]),
        ingested=_least([ingested, *(from_iso(manifest.from_) for manifest in sealed)]),
        segments=len(sealed),
        damages=tuple(str(damage) for damage in (*contents.damages, *store.missing(dataset))),
        set_aside=tuple(str(path) for path in store.set_aside(dataset)),
    )


def _moment(text: str | None) -> int | None:
    return None if text is None else from_iso(text)


def _least(times: Iterable[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _most(times: Iterable[int | None]) -> int | None:
    return max((time for time in times if time is not None), default=None)


def days_kept(states: tuple[DatasetState, ...], now: int) -> float | None:
    """Days since the oldest record of any dataset entered the store, or None when nothing is stored."""
    oldest = _least(state.ingested for state in states)
    return None if oldest is None else dt.timedelta(microseconds=now - oldest) / dt.timedelta(days=1)
