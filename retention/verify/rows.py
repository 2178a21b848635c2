"""Check 7: every row of the segments, recomputed. It needs the day keys."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from retention.catalogue import Sealed
from retention.dataset import Dataset
from retention.errors import RetentionError, SegmentError
from retention.keys import DayKeys
from retention.ledger.state import JournalFile, LedgerState
from retention.segment.check import check_rows, leaves_start
from retention.segment.reader import Segment
from retention.verify.journals import rewritten
from retention.verify.model import Check, Manifests, Progress, Scope


def check_all_rows(
    manifests: Manifests,
    state: LedgerState,
    scope: Scope,
    datasets: Sequence[Dataset],
    day_keys: DayKeys,
    progress: Progress,
) -> Check:
    """7. Rows, tags, trees and chains of every segment in *scope*, held against every signed head."""
    known = {dataset.name: dataset for dataset in datasets}
    wanted = [
        one for sealed in manifests.values() for one in sealed if one.present and scope.holds(one.manifest)
    ]
    total = sum(one.manifest.size or 0 for one in wanted)
    failures: list[RetentionError] = []
    rows = done = 0

    def work(one: Sealed) -> int | RetentionError:
        try:
            return _check(one, state, known.get(one.manifest.dataset), day_keys)
        except RetentionError as error:
            return error
        except OSError as error:
            return SegmentError(f"segment {one.manifest.name}: {one.path}: {error.strerror}")

    with ThreadPoolExecutor(scope.threads) as pool:
        for one, found in zip(wanted, pool.map(work, wanted), strict=True):
            if isinstance(found, RetentionError):
                failures.append(found)
            else:
                rows += found
            done += one.manifest.size or 0
            progress(done, total)
    return Check(
        number=7,
        says=f"rows: {rows:,} in {len(wanted):,} segments, every line, tag, tree and chain recomputed",
        failures=tuple(failures),
    )


def _check(one: Sealed, state: LedgerState, dataset: Dataset | None, day_keys: DayKeys) -> int:
    manifest = one.manifest
    if dataset is None or manifest.day is None:
        raise SegmentError(f"segment {manifest.name}: no dataset of that name is known")
    key = day_keys.open(dataset.name, dt.date.fromisoformat(manifest.day))
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
                raise SegmentError(f"segment {segment.name}: {rewritten(file, frames)}")


def _check_plain(segment: Segment) -> None:
    digest = hashlib.sha256()
    for piece in segment.file.verify_all():
        digest.update(piece)
    if digest.hexdigest() != segment.manifest.plain:
        raise SegmentError(f"segment {segment.name}: its plaintext is not the one that its manifest names")
