"""The keys that a day's segments lie under.

Rules (FORMAT.md 4, 6, 7.3):
    1. Each (dataset, UTC day) has a key for its encrypted files and a VRF key for its tags. They are made,
       kept and shredded together: without them the day's records are gone, in every copy of the segments.
    2. A key is never replaced. One that is lost is not noticed here: ``make`` makes another, whose VRF public
       key is not the ledger's.
    3. The wrapping names neither dataset nor day. A key in another's place opens no file there, and its VRF
       public key is not the ledger's.
"""

import datetime as dt
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from retention.durable import make_directory, shred
from retention.errors import KeyMaterialError
from retention.keys.recipients import day_of
from retention.keys.wrapping import MasterKeySource, held, making, unwrap, write_wrapped
from retention.vrf import SecretKey

_KEY_BYTES = 32
_DATASET = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class DayKey:
    """What opens the segments of one dataset and day."""

    key: bytes = field(repr=False)
    """32 bytes, secret: the input key of the encrypted files (FORMAT.md 6)."""

    vrf: SecretKey = field(repr=False)
    """Makes the tags of the subjects (FORMAT.md 7.3)."""


class DayKeys:
    """The keys of sealed days, in one directory: ``DATASET/DAY.key``."""

    def __init__(self, directory: Path, master: MasterKeySource) -> None:
        self._directory = directory
        self._lock = directory.parent / "journal"
        self._master = master

    def make(self, dataset: str, day: dt.date) -> DayKey:
        """The key of *dataset* and *day*; a missing one is made, durably.

        Raises:
            KeyMaterialError: the one that is there does not open.
            OSError: the disk's; no key was made, or a whole one that the next call gives.
        """
        path = self._path(dataset, day)
        with making(self._lock, self._master) as master:
            if not path.exists():
                make_directory(path.parent, mode=0o700)
                secret = os.urandom(_KEY_BYTES) + SecretKey.generate().seed
                write_wrapped(path, secret, master)
            return self.open(dataset, day)

    def open(self, dataset: str, day: dt.date) -> DayKey:
        """The key of *dataset* and *day*.

        Raises:
            KeyMaterialError: it is missing, altered, or under another master key.
        """
        secret = unwrap(self._path(dataset, day), self._master, 2 * _KEY_BYTES)
        return DayKey(key=secret[:_KEY_BYTES], vrf=SecretKey(secret[_KEY_BYTES:]))

    def has(self, dataset: str, day: dt.date) -> bool:
        """Whether there is a file for the key; not whether it opens."""
        return self._path(dataset, day).exists()

    def shred(self, dataset: str, day: dt.date) -> None:
        """Destroy the key of *dataset* and *day*: no segment of it opens again. Gone already is done.

        Raises:
            OSError: the disk's; call again to finish.
        """
        with held(self._lock):
            shred(self._path(dataset, day))

    def listed(self) -> list[tuple[str, dt.date]]:
        """(dataset, day) of every key file, in order."""
        found = ((path.parent.name, day_of(path)) for path in self._directory.glob("*/*.key"))
        return sorted((dataset, day) for dataset, day in found if day is not None)

    def _path(self, dataset: str, day: dt.date) -> Path:
        if not _DATASET.fullmatch(dataset):
            raise KeyMaterialError(f"expected a dataset's name, found {dataset!r}")
        return self._directory / dataset / f"{day.isoformat()}.key"
