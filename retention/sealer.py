"""Journals become segments: the one place where records change hands, where the order of steps matters.

Commit order (FORMAT.md 7.9): key → temporary file → read back and check → rename → ledger ``sealed`` and
``heads`` → checkpoint → unlink journals. Whatever is interrupted is finished, or undone and done again, by
``recover``, which every start runs: nothing is sealed twice and no acknowledged row is lost.

Refused, with nothing changed: a damaged journal, a hole in the numbers, a journal that contradicts a signed
head or the last sealed hash, a checkpoint that does not extend the last one.
"""

import datetime as dt
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from retention.catalogue import MANIFEST, SEGMENT, Catalogue, is_name
from retention.dataset import Dataset
from retention.durable import make_directory, sync_directory, write_file
from retention.encoding import ENCODER
from retention.errors import JournalWriteError, SealingRefusedError
from retention.journal import files
from retention.journal.adopt import AdoptedFile
from retention.keys import DayKey, DayKeys
from retention.leaves import EMPTY_ROOT
from retention.ledger.entries import Entry, KeyEntry, SealedEntry
from retention.ledger.heads import heads_entry
from retention.ledger.log import Ledger
from retention.ledger.state import JournalFile
from retention.merkle import leaf_hash
from retention.plan import LIVE, FileSpan, Group, plan_imports, plan_live
from retention.segment.build import Beta, Built, build
from retention.segment.check import check_rows
from retention.segment.manifest import (
    FORMAT,
    SUBJECT_RULE,
    JournalRange,
    Manifest,
    associated_data,
)
from retention.segment.reader import Segment
from retention.segment.write import write_segment
from retention.times import from_iso, iso
from retention.waiting import IMPORT_WRITER, Waiting

_log = logging.getLogger(__name__)

CLOCK_TOLERANCE_US = 2_000_000
"""How far the local clock may be from the confirmed time and still be called confirmed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealReport:
    """One manifest that was committed."""

    name: str
    rows: int
    size: int
    """Bytes of the encrypted file."""


@dataclass(kw_only=True)
class Sealer:
    """Seals the journals of one store. Used by one thread, which holds the ledger."""

    root: Path
    created: int
    """When the store was made, UTC µs: live manifests begin there."""
    datasets: Sequence[Dataset]
    ledger: Ledger
    catalogue: Catalogue
    waiting: Waiting
    day_keys: DayKeys
    clock: Callable[[], int]
    confirmed: Callable[[], int | None] = lambda: None
    """The time as confirmed within the hour (FORMAT.md 10.1), UTC µs, or None."""
    by: str = "applog"
    progress: Callable[[SealReport], None] = lambda _: None

    def recover(self) -> None:
        """Finish or undo what an earlier sealing left (the table in FORMAT.md 7.9).

        Raises:
            SealingRefusedError: a manifest that the ledger knows is missing or another one.
            JournalWriteError: the disk refused.
        """
        try:
            self._recover()
        except OSError as error:
            raise JournalWriteError(f"recovering segments: {error.strerror}: {error.filename}") from error

    def _recover(self) -> None:
        self.catalogue.refresh()
        for dataset in self.datasets:
            known = self.ledger.state.sealed.get(dataset.name, [])
            self._remove_unsealed(self.root / "segments" / dataset.name, len(known))
            self.catalogue.refresh()
            found = self.catalogue.sealed(dataset.name)
            for number, state in enumerate(known):
                if number >= len(found) or leaf_hash(found[number].encoded) != state.manifest:
                    raise SealingRefusedError(
                        f"segment {dataset.name}/{number:08d}: its manifest is missing, or not the one that "
                        "was sealed"
                    )
            self.waiting.unlink_sealed(dataset)

    def _remove_unsealed(self, directory: Path, known: int) -> None:
        """What was named but never entered in the ledger: its journals are still there."""
        if not directory.exists():
            return
        self._refuse_orphans(directory, known)
        names = sorted(path.name for path in directory.iterdir())
        unsealed = [
            name
            for name in names
            if name.startswith(".")
            or (is_name(name, MANIFEST) and int(name[:8]) >= known)
            or (is_name(name, SEGMENT) and int(name[:8]) >= known)
        ]
        for name in sorted(unsealed, key=lambda one: not one.endswith(MANIFEST)):  # the manifest goes first
            (directory / name).unlink()
            _log.info("removed %s/%s: its sealing was interrupted; it is sealed anew", directory.name, name)
        if unsealed:
            sync_directory(directory)

    def _refuse_orphans(self, directory: Path, known: int) -> None:
        """Nothing is removed whose journals are gone: it was sealed, and the ledger lost it.

        Raises:
            SealingRefusedError: a segment that the ledger does not know cannot be sealed anew.
        """
        for one in self.catalogue.sealed(directory.name)[known:]:
            for journal in one.manifest.journals:
                base = self.root / "journals" / directory.name / journal.writer
                for number in range(journal.first, journal.last + 1):
                    if not files.path_of(base, number).is_file():
                        raise SealingRefusedError(
                            f"segment {one.manifest.name} is not in the ledger, and its journals are gone: "
                            "ledger or keys were put back from an older back-up"
                        )

    def seal(self, dataset: Dataset, cut: int) -> list[SealReport]:
        """Seal everything of *dataset* that was finished before *cut* (UTC µs).

        Live journals wait when one of their files may still get rows from before *cut*.

        Raises:
            SealingRefusedError: a journal is not as it was written, or not as it was signed.
        """
        try:
            return self._seal(dataset, cut)
        except OSError as error:
            raise JournalWriteError(f"sealing {dataset.name}: {error.strerror}: {error.filename}") from error

    def _seal(self, dataset: Dataset, cut: int) -> list[SealReport]:
        journals = self.waiting.finished(dataset)
        self.waiting.refuse_missing(dataset, self.ledger.state)
        imports = plan_imports(_before(journals.pop(IMPORT_WRITER, []), cut))
        reports = [self._commit(dataset, group) for group in _ready(imports)]
        if journals and not self.waiting.still_open(dataset, cut):
            before = [_before(spans, cut) for spans in journals.values()]
            since, epoch = self._live_end(dataset)
            groups = plan_live(before, since=since, epoch=epoch, cut=cut)
            reports += [self._commit(dataset, group) for group in _ready(groups)]
        return reports

    def _live_end(self, dataset: Dataset) -> tuple[int, int]:
        for sealed in reversed(self.catalogue.sealed(dataset.name)):
            if sealed.manifest.kind == LIVE:
                return from_iso(sealed.manifest.until), sealed.manifest.epoch
        return self.created, 0

    def _commit(self, dataset: Dataset, group: Group) -> SealReport:
        """Seal *group*, step by step."""
        state = self.ledger.state
        sequence = len(state.sealed.get(dataset.name, []))
        adopted = [self.waiting.adopt(dataset, span) for span in group.files]
        self._hold_against_ledger(dataset, adopted)
        directory = self.root / "segments" / dataset.name
        make_directory(directory)
        name = directory / f"{sequence:08d}"
        manifest = self._manifest(dataset, group, adopted, sequence)
        temporary = directory / f".{name.name}{SEGMENT}"
        if group.rows:
            # 1. The day's keys, and its public key in the ledger before anything rests on it.
            key = self._day_key(dataset, group.files[0].day)
            beta = cache(key.vrf.output)
            # 2. The encrypted file, under a name that nobody reads.
            built = build(dataset, adopted, beta)
            size, plain, encrypted = write_segment(
                temporary, key.key, associated_data(dataset.name, built.file_id), built.pieces
            )
            manifest = _filled(manifest, built, group.files[0].day, size=size, plain=plain, file=encrypted)
            del built
            # 3. Read back from the disk: what is there is what was journaled, or it is not sealed.
            self._read_back(temporary, manifest, dataset, key.key, beta, adopted)
        encoded = manifest.encoded()
        # 4. Names. A crash here leaves files that the ledger does not know: removed at the next start.
        if group.rows:
            temporary.rename(name.with_suffix(SEGMENT))
        write_file(name.with_suffix(MANIFEST), encoded)
        sync_directory(directory)
        # 5. The ledger. A crash before the checkpoint undoes it: the entries are cut, the files removed.
        entry = SealedEntry(
            time=iso(self.clock()), dataset=dataset.name, sequence=sequence, manifest=leaf_hash(encoded).hex()
        )
        self.ledger.append([entry])
        self.catalogue.refresh()
        # 6. The checkpoint: from here on it is sealed.
        self.sign_heads()
        # 7. The journals are not needed any more. A crash before this leaves them to ``recover``.
        self.waiting.unlink_sealed(dataset)
        report = SealReport(name=manifest.name, rows=manifest.count, size=manifest.size or 0)
        self.progress(report)
        return report

    def _hold_against_ledger(self, dataset: Dataset, adopted: Sequence[AdoptedFile]) -> None:
        """Each file follows the one sealed before it, and has every head that was signed of it."""
        ends = {}
        for file in adopted:
            if file.writer not in ends:
                end = self.catalogue.end_of(dataset.name, file.writer)
                ends[file.writer] = end.head if end is not None else bytes(32)
            if file.after != ends[file.writer]:
                raise SealingRefusedError(
                    f"journal {dataset.name}/{file.writer}, file {file.number}: it does not follow the file "
                    "before it"
                )
            ends[file.writer] = file.head
            for frames, head in self.ledger.state.heads.get(
                JournalFile(dataset.name, file.writer, file.number), {}
            ).items():
                if file.hash_at(frames) != head:
                    raise SealingRefusedError(
                        f"journal {dataset.name}/{file.writer}, file {file.number}: "
                        f"its frame {frames} is not the one that was signed: it was rewritten or cut"
                    )

    def _day_key(self, dataset: Dataset, day: str) -> DayKey:
        date = dt.date.fromisoformat(day)
        public = self.ledger.state.vrf.get((dataset.name, day))
        here = any(one.present and one.manifest.day == day for one in self.catalogue.sealed(dataset.name))
        # Rows that come late, when the day's key went with its segments, get a new one.
        key = self.day_keys.open(dataset.name, date) if here else self.day_keys.make(dataset.name, date)
        if key.vrf.public == public:
            return key
        if here:
            raise SealingRefusedError(f"the VRF key of {dataset.name} for {day} is not the one in the ledger")
        entry = KeyEntry(
            time=iso(self.clock()),
            action="vrf",
            dataset=dataset.name,
            day=day,
            public=key.vrf.public.hex(),
        )
        self.ledger.append([entry])
        return key

    def _manifest(
        self, dataset: Dataset, group: Group, adopted: Sequence[AdoptedFile], sequence: int
    ) -> Manifest:
        """The manifest as of a period without rows."""
        now = self.clock()
        return Manifest(
            format=FORMAT,
            dataset=dataset.name,
            sequence=sequence,
            kind=group.kind,
            schema=dataset.version,
            encoder=ENCODER,
            subject_rule=SUBJECT_RULE,
            epoch=group.epoch,
            from_=iso(group.since),
            until=iso(group.until),
            count=0,
            subjects=0,
            root=EMPTY_ROOT.hex(),
            journals=tuple(_ranges(adopted)),
            sealed=iso(now),
            clock=self._clock_state(now),
            by=self.by,
        )

    def _clock_state(self, now: int) -> str:
        confirmed = self.confirmed()
        near = confirmed is not None and abs(now - confirmed) <= CLOCK_TOLERANCE_US
        return "confirmed" if near else "unconfirmed"

    def _read_back(
        self,
        path: Path,
        manifest: Manifest,
        dataset: Dataset,
        key: bytes,
        beta: Beta,
        adopted: Sequence[AdoptedFile],
    ) -> None:
        segment = Segment(path, manifest, dataset, key)
        try:
            for file, journal, table in zip(adopted, segment.directory.journals, segment.frames, strict=True):
                sealed = (journal.writer, journal.file, table.chain.tobytes(), table.rows.tolist())
                if sealed != (file.writer, file.number, file.chain.tobytes(), file.rows.tolist()):
                    raise SealingRefusedError(
                        f"segment {manifest.name}: read back with other journals than written"
                    )
            check_rows(segment, beta)
        finally:
            segment.close()

    def sign_heads(self) -> None:
        """Enter where every tree and journal stands, and sign a checkpoint over it.

        Raises:
            JournalWriteError: the disk refused.
        """
        try:
            self._sign_heads()
        except OSError as error:
            raise JournalWriteError(f"signing heads: {error.strerror}: {error.filename}") from error

    def _sign_heads(self) -> None:
        entry = heads_entry(
            self.root / "journals", self.ledger.state, self.catalogue, self.clock(), self.confirmed()
        )
        entries: list[Entry] = [entry]
        self.ledger.append(entries)
        self.ledger.sign()


def _filled(manifest: Manifest, built: Built, day: str, *, size: int, plain: str, file: str) -> Manifest:
    """*manifest* with what *built* and its written file add."""
    return msgspec.structs.replace(
        manifest,
        day=day,
        count=built.rows,
        subjects=built.subjects,
        first=iso(built.first),
        last=iso(built.last),
        file_id=built.file_id.hex(),
        root=built.root.hex(),
        plain=plain,
        file=file,
        size=size,
    )


def _ranges(adopted: Sequence[AdoptedFile]) -> Iterator[JournalRange]:
    for writer in sorted({file.writer for file in adopted}):
        ours = [file for file in adopted if file.writer == writer]
        yield JournalRange(
            writer=writer,
            first=ours[0].number,
            last=ours[-1].number,
            after=ours[0].after.hex(),
            frames=len(ours[-1].rows),
            head=ours[-1].head.hex(),
        )


def _before(spans: Sequence[FileSpan], cut: int) -> list[FileSpan]:
    """Those from the front of *spans* that are of the time before *cut*."""
    return list(itertools.takewhile(lambda span: span.before(cut), spans))


def _ready(groups: Sequence[Group]) -> list[Group]:
    """*groups* up to the first that has to wait."""
    return list(itertools.takewhile(lambda group: not group.waits, groups))
