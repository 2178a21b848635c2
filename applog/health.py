"""What is true now about the store, one function per question.

Rules:
    1. A figure is read, never remembered; what cannot be read is said.
"""

import datetime as dt
from dataclasses import dataclass

import pyarrow.compute as pc

from applog.records import DNS, FLOW
from captive_portal.records import LEASE
from retention.dataset import Dataset
from retention.records import AUDIT, COVERAGE
from retention.store import Store

DATASETS = (FLOW, DNS, LEASE, COVERAGE, AUDIT)
"""Every dataset, in the order in which people ask for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetState:
    """What the journals of a dataset hold."""

    name: str
    rows: int
    oldest: int | None
    """@timestamp of the oldest record, UTC µs."""
    newest: int | None
    """@timestamp of the newest record, UTC µs."""
    damages: tuple[str, ...]
    """What cannot be read, in words."""
    set_aside: tuple[str, ...]
    """Torn ends that a crash left, kept beside the journals."""


def dataset_state(store: Store, dataset: Dataset, *, deep: bool = False) -> DatasetState:
    """Read all of *dataset*; *deep* recomputes every line and chain hash as well."""
    contents = store.read(dataset, ["@timestamp"], deep=deep)
    bounds = pc.min_max(contents.table["@timestamp"].cast("int64")).as_py()
    return DatasetState(
        name=dataset.name,
        rows=contents.table.num_rows,
        oldest=bounds["min"],
        newest=bounds["max"],
        damages=tuple(str(damage) for damage in contents.damages),
        set_aside=tuple(str(path) for path in store.set_aside(dataset)),
    )


def days_kept(states: tuple[DatasetState, ...], now: int) -> float | None:
    """Days since the oldest record of any dataset, or None when nothing is stored."""
    oldest = min((state.oldest for state in states if state.oldest is not None), default=None)
    return None if oldest is None else dt.timedelta(microseconds=now - oldest) / dt.timedelta(days=1)
