"""What a check is, and what is to be checked."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from retention.catalogue import Sealed
from retention.errors import RetentionError
from retention.segment.manifest import Manifest
from retention.times import from_iso

Manifests = dict[str, list[Sealed]]
"""Dataset → its manifests as they lie on the disk, in order, those that fail left out."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many have been verified."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One numbered check and what came of it."""

    number: int
    says: str
    """What was checked, for a person; starts with what it is about."""
    failures: tuple[RetentionError, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What to verify, and how thoroughly."""

    deep: bool = False
    since: int | None = None
    """Only segments with rows, or ingestion, at or behind this, UTC µs; the ledger always whole."""
    until: int | None = None
    """Excluded."""
    anchor: bytes | None = None
    """A checkpoint that was lodged elsewhere."""
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)

    def holds(self, manifest: Manifest) -> bool:
        """Whether rows of *manifest* are to be verified."""
        if manifest.first is None or manifest.last is None:
            return False
        begins = min(from_iso(manifest.first), from_iso(manifest.from_))
        ends = max(from_iso(manifest.last), from_iso(manifest.until))
        return (self.since is None or ends >= self.since) and (self.until is None or begins < self.until)
