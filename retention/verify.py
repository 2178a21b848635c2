"""Whether everything that was sealed is there, whole, and what was signed. Imports nothing that writes.

The checks, in order; each names everything that it finds wrong:
    1. Ledger: every entry follows from those before it, and the checkpoint's key signed them.
    2. Anchor: a checkpoint that was lodged elsewhere, if one is given: the ledger extends it.
    3. Manifests: exactly those that the ledger committed to, in their order.
    4. Contiguity: live manifests leave no time out, journals no file, each chain goes on where it ended.
    5. Files: each has the size and digest of its manifest; what is gone has receipts; no others are there.
    6. Journals: every signed head is in a sealed segment, or in a journal file that still has it.
    7. Rows (deep): every row, tag, tree and chain recomputed, and held against every signed head.
Fails by raising ``VerificationFailedError`` behind the last check; never returns False.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from retention.catalogue import MANIFEST, SEGMENT, Sealed, is_name
from retention.dataset import Dataset
from retention.errors import RetentionError, SegmentError, VerificationError, VerificationFailedError
from retention.journal import files
from retention.journal.frame import FoundFrame, scan
from retention.keys import DayKeys
from retention.ledger.log import check_extends
from retention.ledger.state import JournalFile, LedgerState
from retention.ledger.view import LedgerView, read_ledger
from retention.merkle import leaf_hash
from retention.note import fingerprint
from retention.plan import LIVE
from retention.segment.check import check_rows, leaves_start
from retention.segment.manifest import Manifest
from retention.segment.reader import Segment
from retention.times import from_iso, iso

UNANCHORED = (
    "UNANCHORED: it is consistent, but whoever holds the signing key could have made all of it; "
    "hold it against a checkpoint that was lodged elsewhere: applog verify --checkpoint FILE"
)
_BLOCK = 1 << 20


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
    anchor: bytes | None = None
    """A checkpoint that was lodged elsewhere."""
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)


Progress = Callable[[int, int], None]
"""Told how many bytes of how many have been verified."""


@dataclass(kw_only=True)
class Verifier:
    """Verifies one data directory."""

    root: Path
    created: int
    """When the store was made, UTC µs."""
    datasets: Sequence[Dataset]
    day_keys: DayKeys
    scope: Scope
    progress: Progress = lambda _done, _all: None
    _sealed: dict[str, list[Sealed]] = field(default_factory=dict)

    def checks(self) -> Iterator[Check]:
        """Every check as it is done.

        Raises:
            VerificationError: the ledger itself does not hold, so that nothing can be held against it.
            VerificationFailedError: behind the last check, if any failed.
        """
        failures: list[RetentionError] = []
        steps = [self._ledger, self._anchor, self._manifests, self._contiguity, self._files, self._journals]
        view = read_ledger(self.root / "ledger")
        for step in [*steps, self._rows] if self.scope.deep else steps:
            check = step(view)
            while check.failures and (newer := read_ledger(self.root / "ledger")).signed != view.signed:
                view = newer  # something was sealed or expired meanwhile, which is no failure
                check = step(view)
            failures += check.failures
            yield check
        if failures:
            raise VerificationFailedError(failures)

    def _ledger(self, view: LedgerView) -> Check:
        failures: list[RetentionError] = []
        if view.unsigned or view.torn:
            failures.append(
                VerificationError(
                    f"{view.unsigned} entries and {len(view.torn)} bytes stand behind the checkpoint: "
                    "an interrupted sealing, which the next start finishes, or entries that nobody signed"
                )
            )
        for dataset, states in view.state.sealed.items():
            failures += [
                VerificationError(
                    f"segment {dataset}/{number:08d} was to expire, and has no receipt that it did"
                )
                for number, state in enumerate(states)
                if state.expiring and not state.expired
            ]
        return Check(
            number=1,
            says=f"ledger: {view.checkpoint.size:,} entries follow from one another and are signed by "
            f"{fingerprint(view.state.key)[:19]}…, the newest at {view.heads.time}",
            failures=tuple(failures),
        )

    def _anchor(self, view: LedgerView) -> Check:
        if self.scope.anchor is None:
            return Check(number=2, says=f"anchor: {UNANCHORED}")
        try:
            anchor = check_extends(view.leaves[: view.checkpoint.size], self.scope.anchor, view.state)
        except RetentionError as error:
            return Check(number=2, says="anchor: the checkpoint that was lodged", failures=(error,))
        return Check(
            number=2,
            says=f"anchor: the ledger extends the checkpoint of {anchor.size:,} entries that was lodged",
        )

    def _manifests(self, view: LedgerView) -> Check:
        failures: list[RetentionError] = []
        self._sealed = {}
        for dataset, states in view.state.sealed.items():
            self._sealed[dataset] = []
            for number, known in enumerate(states):
                try:
                    self._sealed[dataset].append(self._manifest(dataset, number, known.manifest))
                except VerificationError as error:
                    failures.append(error)
        failures += self._unknown(view.state)
        return Check(
            number=3,
            says=f"manifests: {sum(map(len, view.state.sealed.values())):,}, each the one that the ledger "
            "committed to",
            failures=tuple(failures),
        )

    def _manifest(self, dataset: str, number: int, committed: bytes) -> Sealed:
        name = f"{dataset}/{number:08d}"
        path = self.root / "segments" / dataset / f"{number:08d}{MANIFEST}"
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise SegmentError(f"segment {name}: its manifest {path}: {error.strerror}") from error
        if leaf_hash(encoded) != committed:
            raise SegmentError(f"segment {name}: its manifest {path} is not the one that was sealed")
        segment = path.with_suffix(SEGMENT)
        return Sealed(
            manifest=Manifest.parse(encoded, name), encoded=encoded, path=segment, present=segment.exists()
        )

    def _unknown(self, state: LedgerState) -> list[RetentionError]:
        """Files among the segments that the ledger knows nothing of."""
        failures: list[RetentionError] = []
        for path in sorted((self.root / "segments").glob("*/*")):
            dataset, name = path.parent.name, path.name
            known = len(state.sealed.get(dataset, []))
            ours = is_name(name, MANIFEST) or is_name(name, SEGMENT)
            if not ours or int(name[:8]) >= known:
                failures.append(
                    VerificationError(
                        f"{path}: the ledger knows nothing of it; an interrupted sealing, or put there"
                    )
                )
        return failures

    def _contiguity(self, _view: LedgerView) -> Check:
        failures: list[RetentionError] = []
        for dataset, sealed in self._sealed.items():
            until, epoch = self.created, 0
            ends: dict[str, tuple[int, str]] = {}
            for manifest in (one.manifest for one in sealed):
                if manifest.kind == LIVE:
                    failures += _time_failures(manifest, until, epoch)
                    until, epoch = from_iso(manifest.until), manifest.epoch
                for journal in manifest.journals:
                    file, head = ends.get(journal.writer, (0, bytes(32).hex()))
                    if (journal.first, journal.after) != (file + 1, head):
                        failures.append(
                            SegmentError(
                                f"segment {manifest.name}: journal {dataset}/{journal.writer} does not go on "
                                f"behind file {file}"
                            )
                        )
                    ends[journal.writer] = (journal.last, journal.head)
        return Check(
            number=4,
            says="contiguity: live manifests leave no time out, and journals no file",
            failures=tuple(failures),
        )

    def _files(self, view: LedgerView) -> Check:
        self._manifests(view)
        failures: list[RetentionError] = []
        wanted: list[Sealed] = []
        gone = 0
        for dataset, sealed in self._sealed.items():
            for one in sealed:
                expired = view.state.sealed[dataset][one.manifest.sequence].expiring
                gone += expired
                if one.manifest.count == 0 or expired:
                    if one.present:
                        failures.append(SegmentError(f"{one.path}: there should be no file"))
                elif not one.present:
                    failures.append(
                        SegmentError(f"segment {one.manifest.name}: its file {one.path} is missing")
                    )
                elif self._in_scope(one.manifest):
                    wanted.append(one)
        total = sum(one.manifest.size or 0 for one in wanted)
        done = 0
        with ThreadPoolExecutor(self.scope.threads) as pool:
            for one, failure in zip(wanted, pool.map(_file_failure, wanted), strict=True):
                failures += [failure] if failure is not None else []
                done += one.manifest.size or 0
                self.progress(done, total)
        return Check(
            number=5,
            says=f"files: {len(wanted):,} segments, {total:,} bytes, each as its manifest says; "
            f"{gone:,} gone with receipts",
            failures=tuple(failures),
        )

    def _in_scope(self, manifest: Manifest) -> bool:
        since, until = self.scope.since, self.scope.until
        if manifest.first is None or manifest.last is None:
            return False
        begins = min(from_iso(manifest.first), from_iso(manifest.from_))
        ends = max(from_iso(manifest.last), from_iso(manifest.until))
        return (since is None or ends >= since) and (until is None or begins < until)

    def _journals(self, view: LedgerView) -> Check:
        self._manifests(view)
        state = view.state
        failures: list[RetentionError] = []
        held: dict[tuple[str, str], list[tuple[int, int, int, str]]] = {}
        for dataset, sealed in self._sealed.items():
            for one in sealed:
                for journal in one.manifest.journals:
                    ranges = held.setdefault((dataset, journal.writer), [])
                    ranges.append((journal.first, journal.last, journal.frames, journal.head))
        opened = 0
        for file, heads in state.heads.items():
            ranges = held.get((file.dataset, file.writer), [])
            inside = next((one for one in ranges if one[0] <= file.file <= one[1]), None)
            if inside is not None:
                _, last, frames, head = inside
                if file.file == last and frames in heads and heads[frames].hex() != head:
                    failures.append(_rewritten(file, frames))
            else:
                opened += 1
                failures += self._open_journal(file, heads)
        return Check(
            number=6,
            says=f"journals: {len(state.heads):,} files with signed heads, {opened:,} of them not sealed yet",
            failures=tuple(failures),
        )

    def _open_journal(self, file: JournalFile, heads: dict[int, bytes]) -> list[RetentionError]:
        """The file is there, and has every head that was signed of it."""
        path = files.path_of(self.root / "journals" / file.dataset / file.writer, file.file)
        try:
            data = path.read_bytes()
            header, length = files.header_of(path, data)
        except OSError as error:
            return [VerificationError(f"journal {path}: {error.strerror}, but its head was signed")]
        except RetentionError as error:
            return [error]
        chain = {0: files.start_hash(header)}
        for found in scan(data, length, chain[0]):
            if isinstance(found, FoundFrame) and found.header.previous == chain.get(found.header.number - 1):
                chain[found.header.number] = found.header.chain
        return [_rewritten(file, frames) for frames, head in heads.items() if chain.get(frames) != head]

    def _rows(self, view: LedgerView) -> Check:
        self._manifests(view)
        state = view.state
        by_name = {dataset.name: dataset for dataset in self.datasets}
        wanted = [
            one
            for sealed in self._sealed.values()
            for one in sealed
            if one.present and self._in_scope(one.manifest)
        ]
        total = sum(one.manifest.size or 0 for one in wanted)
        failures: list[RetentionError] = []
        rows = done = 0

        def work(one: Sealed) -> int | RetentionError:
            try:
                return self._deep(state, one, by_name)
            except RetentionError as error:
                return error

        with ThreadPoolExecutor(self.scope.threads) as pool:
            for one, found in zip(wanted, pool.map(work, wanted), strict=True):
                if isinstance(found, RetentionError):
                    failures.append(found)
                else:
                    rows += found
                done += one.manifest.size or 0
                self.progress(done, total)
        return Check(
            number=7,
            says=f"rows: {rows:,} in {len(wanted):,} segments, every line, tag, tree and chain recomputed",
            failures=tuple(failures),
        )

    def _deep(self, state: LedgerState, one: Sealed, by_name: dict[str, Dataset]) -> int:
        manifest = one.manifest
        dataset = by_name.get(manifest.dataset)
        if dataset is None or manifest.day is None:
            raise SegmentError(f"segment {manifest.name}: no dataset of that name is known")
        key = self.day_keys.open(dataset.name, dt.date.fromisoformat(manifest.day))
        if state.vrf.get((dataset.name, manifest.day)) != key.vrf.public:
            raise SegmentError(f"segment {manifest.name}: the day's VRF key is not the one in the ledger")
        segment = Segment(one.path, manifest, dataset, key.key)
        try:
            _check_plain(segment)
            rows = check_rows(segment, cache(key.vrf.output))
            check_heads(segment, state)
        finally:
            segment.close()
        return rows


def check_heads(segment: Segment, state: LedgerState) -> None:
    """Every signed head of a journal file in *segment* is in its frame table.

    Raises:
        SegmentError: one is not: the journal was rewritten before it was sealed.
    """
    for journal, table in zip(segment.directory.journals, segment.frames, strict=True):
        file = JournalFile(segment.manifest.dataset, journal.writer, journal.file)
        chain = [leaves_start(segment.dataset, journal), *(one.tobytes() for one in table.chain)]
        chain += [bytes.fromhex(one) for one in journal.void]
        for frames, head in state.heads.get(file, {}).items():
            if frames >= len(chain) or chain[frames] != head:
                raise SegmentError(f"segment {segment.name}: {_rewritten(file, frames)}")


def _check_plain(segment: Segment) -> None:
    digest = hashlib.sha256()
    for piece in segment.file.verify_all():
        digest.update(piece)
    if digest.hexdigest() != segment.manifest.plain:
        raise SegmentError(f"segment {segment.name}: its plaintext is not the one that its manifest names")


def _time_failures(manifest: Manifest, until: int, epoch: int) -> list[RetentionError]:
    begins = from_iso(manifest.from_)
    goes_on = manifest.epoch == epoch and begins == until
    steps_back = manifest.epoch == epoch + 1 and begins < until
    if goes_on or steps_back:
        return []
    return [
        SegmentError(
            f"segment {manifest.name}: begins at {manifest.from_} in epoch {manifest.epoch}, the one before "
            f"it ended at {iso(until)} in epoch {epoch}"
        )
    ]


def _file_failure(one: Sealed) -> RetentionError | None:
    """What is wrong with the file of *one*, if anything is."""
    manifest = one.manifest
    digest = hashlib.sha256()
    size = 0
    try:
        with one.path.open("rb", buffering=0) as file:
            block = memoryview(bytearray(_BLOCK))
            while got := file.readinto(block):
                digest.update(block[:got])
                size += got
    except OSError as error:
        return SegmentError(f"segment {manifest.name}: {one.path}: {error.strerror}")
    if size != manifest.size:
        return SegmentError(
            f"segment {manifest.name}: {one.path} has {size} bytes, sealed were {manifest.size}"
        )
    if digest.hexdigest() != manifest.file:
        return SegmentError(f"segment {manifest.name}: {one.path} is not the file that was sealed")
    return None


def _rewritten(file: JournalFile, frames: int) -> VerificationError:
    return VerificationError(
        f"journal {file.dataset}/{file.writer}, file {file.file}: its head behind frame {frames} is not the "
        "one that was signed: it was rewritten, cut or put back"
    )
