"""Checks 1 to 5: the ledger, the anchor, manifests, contiguity, files. They need no key."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from retention.catalogue import MANIFEST, SEGMENT, Sealed, is_name
from retention.durable import open_file, read_file
from retention.errors import RetentionError, SegmentError, VerificationError
from retention.ledger.entries import ExpiringEntry
from retention.ledger.log import check_extends
from retention.ledger.state import LedgerState
from retention.ledger.view import LedgerView
from retention.merkle import leaf_hash
from retention.note import fingerprint
from retention.plan import LIVE
from retention.segment.manifest import JournalRange, Manifest
from retention.times import US_PER_DAY, from_iso, iso
from retention.verify.model import Check, Manifests, Progress, Scope

UNANCHORED = (
    "UNANCHORED: it is consistent, but whoever holds the signing key could have made all of it; "
    "hold it against a checkpoint that was lodged elsewhere: applog verify --checkpoint FILE"
)
_BLOCK = 1 << 20
_NO_FILE = (0, bytes(32).hex())


def check_ledger(view: LedgerView, signer: Sequence[RetentionError]) -> Check:
    """1. Every entry follows from those before it; nothing stands behind the checkpoint.

    *signer* is what contradicts the signer's own memory.
    """
    failures = list(signer)
    if view.unsigned or view.torn:
        failures.append(
            VerificationError(
                f"{view.unsigned} entries and {len(view.torn)} bytes stand behind the checkpoint: "
                "an interrupted sealing, which the next start does again, or entries that nobody signed"
            )
        )
    for dataset, states in view.state.sealed.items():
        failures += [
            VerificationError(f"segment {dataset}/{number:08d} was to expire, and has no receipt that it did")
            for number, state in enumerate(states)
            if state.expiring and not state.expired
        ]
    return Check(
        number=1,
        says=f"ledger: {view.checkpoint.size:,} entries follow from one another and are signed by "
        f"{fingerprint(view.state.key)[:19]}…, the newest at {view.heads.time}",
        failures=tuple(failures),
    )


def check_anchor(view: LedgerView, anchor: bytes | None) -> Check:
    """2. The ledger extends the checkpoint *anchor*, which was lodged elsewhere."""
    if anchor is None:
        return Check(number=2, says=f"anchor: {UNANCHORED}")
    try:
        lodged = check_extends(view.leaves[: view.checkpoint.size], anchor, view.state)
    except RetentionError as error:
        return Check(number=2, says="anchor: the checkpoint that was lodged", failures=(error,))
    return Check(
        number=2,
        says=f"anchor: the ledger extends the checkpoint of {lodged.size:,} entries that was lodged",
    )


def check_manifests(root: Path, view: LedgerView) -> tuple[Manifests, Check]:
    """3. The manifests under *root* are exactly those that the ledger committed to."""
    failures: list[RetentionError] = []
    found: Manifests = {}
    for dataset, states in view.state.sealed.items():
        found[dataset] = []
        for number, known in enumerate(states):
            try:
                found[dataset].append(_manifest(root, dataset, number, known.manifest))
            except VerificationError as error:
                failures.append(error)
    failures += _unknown(root, view.state)
    total = sum(map(len, view.state.sealed.values()))
    says = f"manifests: {total:,}, each the one that the ledger committed to"
    return found, Check(number=3, says=says, failures=tuple(failures))


def _manifest(root: Path, dataset: str, number: int, committed: bytes) -> Sealed:
    name = f"{dataset}/{number:08d}"
    path = root / "segments" / dataset / f"{number:08d}{MANIFEST}"
    try:
        encoded = read_file(path)
    except OSError as error:
        raise SegmentError(f"segment {name}: its manifest {path}: {error.strerror}") from error
    if leaf_hash(encoded) != committed:
        raise SegmentError(f"segment {name}: its manifest {path} is not the one that was sealed")
    segment = path.with_suffix(SEGMENT)
    return Sealed(
        manifest=Manifest.parse(encoded, name), encoded=encoded, path=segment, present=segment.exists()
    )


def _unknown(root: Path, state: LedgerState) -> list[RetentionError]:
    """Files among the segments that the ledger knows nothing of."""
    failures: list[RetentionError] = []
    strays = [path for path in (root / "segments").glob("*") if not path.is_dir()]
    for path in [*strays, *sorted((root / "segments").glob("*/*"))]:
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


def check_contiguity(manifests: Manifests, created: int) -> Check:
    """4. Live manifests leave no time out since *created* (UTC µs), journals no file, and chains go on."""
    failures: list[RetentionError] = []
    for sealed in manifests.values():
        until, epoch = created, 0
        ends: dict[str, tuple[int, str]] = {}
        for manifest in (one.manifest for one in sealed):
            if manifest.kind == LIVE:
                failures += _time_failures(manifest, until, epoch)
                until, epoch = from_iso(manifest.until), manifest.epoch
            for journal in manifest.journals:
                failures += _chain_failures(manifest, journal, *ends.get(journal.writer, _NO_FILE))
                ends[journal.writer] = (journal.last, journal.head)
    return Check(
        number=4,
        says="contiguity: live manifests leave no time out, and journals no file",
        failures=tuple(failures),
    )


def _chain_failures(manifest: Manifest, journal: JournalRange, file: int, head: str) -> list[RetentionError]:
    if (journal.first, journal.after) == (file + 1, head):
        return []
    return [
        SegmentError(
            f"segment {manifest.name}: journal {manifest.dataset}/{journal.writer} does not go on behind "
            f"file {file}"
        )
    ]


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


def check_files(manifests: Manifests, state: LedgerState, scope: Scope, progress: Progress) -> Check:
    """5. Files in *scope* are as their manifests say; what is gone has its receipts."""
    failures: list[RetentionError] = []
    wanted: list[Sealed] = []
    gone = 0
    for one in (one for sealed in manifests.values() for one in sealed):
        expiring = state.sealed[one.manifest.dataset][one.manifest.sequence].expiring
        if expiring is not None:
            gone += 1
            failures += _early(one.manifest, expiring)
        if one.manifest.count == 0 or expiring is not None:
            failures += [SegmentError(f"{one.path}: there should be no file")] if one.present else []
        elif not one.present:
            failures.append(SegmentError(f"segment {one.manifest.name}: its file {one.path} is missing"))
        elif scope.holds(one.manifest):
            wanted.append(one)
    total = sum(one.manifest.size or 0 for one in wanted)
    done = 0
    with ThreadPoolExecutor(scope.threads) as pool:
        for one, failure in zip(wanted, pool.map(_file_failure, wanted), strict=True):
            failures += [failure] if failure is not None else []
            done += one.manifest.size or 0
            progress(done, total)
    return Check(
        number=5,
        says=f"files: {len(wanted):,} segments, {total:,} bytes, each as its manifest says; "
        f"{gone:,} gone with receipts",
        failures=tuple(failures),
    )


def _early(manifest: Manifest, expiring: ExpiringEntry) -> list[RetentionError]:
    """That it went before its days were over (FORMAT.md 10.2): the ledger does not know ``until``."""
    due = from_iso(manifest.until) + expiring.retention_days * US_PER_DAY
    if from_iso(expiring.confirmed) >= due:
        return []
    return [
        SegmentError(
            f"segment {manifest.name}: it expired at {expiring.confirmed}, its {expiring.retention_days} "
            f"days were over at {iso(due)}"
        )
    ]


def _file_failure(one: Sealed) -> RetentionError | None:
    """What is wrong with the file of *one*, if anything is."""
    manifest = one.manifest
    digest = hashlib.sha256()
    size = 0
    try:
        with open_file(one.path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        return SegmentError(f"segment {manifest.name}: {one.path}: {error.strerror}")
    if size != manifest.size:
        return SegmentError(
            f"segment {manifest.name}: {one.path} has {size} bytes, sealed were {manifest.size}"
        )
    if digest.hexdigest() != manifest.file:
        return SegmentError(f"segment {manifest.name}: {one.path} is not the file that was sealed")
    return None
