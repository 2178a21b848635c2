"""Check 6: every signed journal head is sealed, or still in its journal file. It needs no key."""

from pathlib import Path

from retention.durable import read_file
from retention.errors import RetentionError, VerificationError
from retention.journal import files
from retention.journal.frame import FileHeader, FoundFrame, first_hash, scan
from retention.ledger.state import JournalFile, LedgerState
from retention.segment.manifest import JournalRange
from retention.verify.model import Check, Manifests


def check_journals(root: Path, manifests: Manifests, state: LedgerState) -> Check:
    """6. Heads of sealed files end where they were sealed; heads of the others are in their files."""
    sealed: dict[tuple[str, str], list[JournalRange]] = {}
    failures: list[RetentionError] = []
    for dataset, manifest in ((name, one.manifest) for name, of in manifests.items() for one in of):
        for journal in manifest.journals:
            sealed.setdefault((dataset, journal.writer), []).append(journal)
            if manifest.count == 0:
                failures += _not_empty(dataset, journal, state)
    opened = 0
    for file, heads in state.heads.items():
        ranges = sealed.get((file.dataset, file.writer), [])
        inside = next((one for one in ranges if one.first <= file.file <= one.last), None)
        if inside is None:
            opened += 1
            failures += _open_failures(root, file, heads)
        elif file.file == inside.last and heads.get(inside.frames, _head(inside)) != _head(inside):
            failures.append(rewritten(file, inside.frames))
    for (dataset, writer), newest in _newest_signed(state).items():
        failures += _link_failures(root, dataset, writer, sealed.get((dataset, writer), []), newest)
    return Check(
        number=6,
        says=f"journals: {len(state.heads):,} files with signed heads, {opened:,} of them not sealed yet",
        failures=tuple(failures),
    )


def _not_empty(dataset: str, journal: JournalRange, state: LedgerState) -> list[RetentionError]:
    """That files of a period without rows had frames: without any, each head follows from the one before."""
    head = bytes.fromhex(journal.after)
    for number in range(journal.first, journal.last + 1):
        head = first_hash(dataset, journal.writer, number, head)
        file = JournalFile(dataset, journal.writer, number)
        signed = state.heads.get(file, {})
        if any((frames, found) != (0, head) for frames, found in signed.items()):
            return [rewritten(file, max(signed))]
    if (journal.frames, journal.head) == (0, head.hex()):
        return []
    return [
        VerificationError(
            f"journal {dataset}/{journal.writer}: its files to {journal.last} had rows, its manifest none"
        )
    ]


def _newest_signed(state: LedgerState) -> dict[tuple[str, str], int]:
    newest: dict[tuple[str, str], int] = {}
    for file in state.heads:
        newest[file.dataset, file.writer] = max(newest.get((file.dataset, file.writer), 0), file.file)
    return newest


def _link_failures(
    root: Path, dataset: str, writer: str, sealed: list[JournalRange], newest: int
) -> list[RetentionError]:
    """What is missing between the sealed files and the newest signed one, which commits to all before it."""
    end = sealed[-1] if sealed else None
    number, chain = (end.last, {end.frames: _head(end)}) if end is not None else (0, {0: bytes(32)})
    while number < newest:
        number += 1
        path = files.path_of(root / "journals" / dataset / writer, number)
        try:
            header, following = _chain_of(path)
        except OSError as error:
            return [VerificationError(f"journal {path}: {error.strerror}; later files were signed")]
        except RetentionError as error:
            return [error]
        if chain.get(header.after_frames) != bytes.fromhex(header.after_hash):
            return [VerificationError(f"journal {path}: it does not follow the file before it")]
        chain = following
    return []


def _chain_of(path: Path) -> tuple[FileHeader, dict[int, bytes]]:
    """The header of a journal file, and its chain's hash behind each number of frames."""
    data = read_file(path)
    header, length = files.header_of(path, data)
    chain = {0: files.start_hash(header)}
    for found in scan(data, length, chain[0]):
        if isinstance(found, FoundFrame) and found.header.previous == chain.get(found.header.number - 1):
            chain[found.header.number] = found.header.chain
    return header, chain


def _head(journal: JournalRange) -> bytes:
    return bytes.fromhex(journal.head)


def _open_failures(root: Path, file: JournalFile, heads: dict[int, bytes]) -> list[RetentionError]:
    """The file is there, and has every head that was signed of it."""
    path = files.path_of(root / "journals" / file.dataset / file.writer, file.file)
    try:
        _, chain = _chain_of(path)
    except OSError as error:
        return [VerificationError(f"journal {path}: {error.strerror}, but its head was signed")]
    except RetentionError as error:
        return [error]
    return [rewritten(file, frames) for frames, head in heads.items() if chain.get(frames) != head]


def rewritten(file: JournalFile, frames: int) -> VerificationError:
    """A journal is not the one whose head was signed behind *frames*."""
    return VerificationError(
        f"journal {file.dataset}/{file.writer}, file {file.file}: its head behind frame {frames} is not the "
        "one that was signed: it was rewritten, cut or put back"
    )
