"""The same records in a journal, in segments, or half and half: for what must not depend on it.

Two files are written, a day apart; ``event.id`` and ``event.ingested`` are the same in every arrangement.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from retention.dataset import Dataset, Record
from tests.support.disk import DAY, SimulatedClock
from tests.support.sealed import SealedStore

ARRANGEMENTS = ("journal", "half", "segments")


def arranged(
    root: Path, arrangement: str, dataset: Dataset, first: Sequence[Record], second: Sequence[Record]
) -> SealedStore:
    """A store at *root* with the records *first* and *second* of *dataset*."""
    quick = dataclasses.replace(dataset, commit_within_ms=0)
    built = SealedStore(root, SimulatedClock(), (quick,))
    for records, sealed in ((first, arrangement != "journal"), (second, arrangement == "segments")):
        built.store.make_keys_ahead()
        if records:
            built.write(quick, "pen", quick.batch(records))
        built.clock.move(DAY)
        if sealed:
            built.seal_all()
    return built
