"""What waits to be sealed: the finished files of every journal, and what is still missing of them.

Rules:
    1. Files are taken in the order of their numbers, behind the last sealed one, without a hole; a file that
       a signed head names and that is gone refuses the sealing.
    2. A live journal's open file blocks a cut for as long as it may get rows from before it.
"""

from dataclasses import dataclass, field
from pathlib import Path

from retention.catalogue import Catalogue
from retention.dataset import Dataset
from retention.durable import read_file, sync_directory
from retention.errors import JournalDamagedError, SealingRefusedError
from retention.journal import files
from retention.journal.adopt import AdoptedFile, FinishedFile, adopt, finished_files, measure
from retention.keys import Recipients
from retention.ledger.state import LedgerState
from retention.plan import FileSpan

IMPORT_WRITER = "import"
"""The writer whose rows are of kind ``import``."""


@dataclass(kw_only=True)
class Waiting:
    """The journals of one store, as the sealer sees them."""

    root: Path
    catalogue: Catalogue
    recipients: Recipients
    _files: dict[tuple[str, str, int], FinishedFile] = field(default_factory=dict)

    def directories(self, dataset: Dataset) -> list[Path]:
        """One for each writer of *dataset*."""
        base = self.root / "journals" / dataset.name
        return sorted(path for path in base.iterdir() if path.is_dir()) if base.exists() else []

    def finished(self, dataset: Dataset) -> dict[str, list[FileSpan]]:
        """Writer → its finished files that are not sealed, in order.

        Raises:
            SealingRefusedError: a journal is not as it was written.
        """
        for key in [key for key in self._files if key[0] == dataset.name]:
            del self._files[key]
        try:
            return {
                directory.name: self._finished(dataset, directory) for directory in self.directories(dataset)
            }
        except JournalDamagedError as error:
            raise SealingRefusedError(str(error)) from error

    def _finished(self, dataset: Dataset, directory: Path) -> list[FileSpan]:
        end = self.catalogue.end_of(dataset.name, directory.name)
        expected = 1 if end is None else end.file + 1
        spans = []
        for finished in finished_files(directory):
            if finished.number < expected:
                continue  # sealed, and not unlinked yet
            if finished.number != expected:
                missing = files.path_of(directory, expected)
                raise JournalDamagedError(missing, 0, "the file is missing; later ones are there")
            measured = measure(finished, dataset, self.recipients)
            self._files[dataset.name, directory.name, finished.number] = finished
            spans.append(
                FileSpan(
                    writer=directory.name,
                    number=finished.number,
                    day=finished.day,
                    rows=measured.rows,
                    first=measured.first,
                    last=measured.last,
                    opened=finished.opened,
                    void=measured.void,
                )
            )
            expected += 1
        return spans

    def adopt(self, dataset: Dataset, span: FileSpan) -> AdoptedFile:
        """All of a finished file.

        Raises:
            SealingRefusedError: it is not as it was written.
        """
        try:
            return adopt(self._files[dataset.name, span.writer, span.number], dataset, self.recipients)
        except JournalDamagedError as error:
            raise SealingRefusedError(str(error)) from error

    def refuse_missing(self, dataset: Dataset, state: LedgerState) -> None:
        """Every file that a signed head names is sealed or here.

        Raises:
            SealingRefusedError: one is not.
        """
        for file in state.heads:
            if file.dataset != dataset.name:
                continue
            end = self.catalogue.end_of(file.dataset, file.writer)
            path = files.path_of(self.root / "journals" / file.dataset / file.writer, file.file)
            if not (end is not None and file.file <= end.file) and not path.is_file():
                raise SealingRefusedError(f"{path} is missing, but its head was signed")

    def still_open(self, dataset: Dataset, cut: int) -> list[str]:
        """Live journals of *dataset* whose open file may get rows from before *cut* (UTC µs)."""
        return [
            directory.name
            for directory in self.directories(dataset)
            if directory.name != IMPORT_WRITER and self._is_open(dataset, directory, cut)
        ]

    def _is_open(self, dataset: Dataset, directory: Path, cut: int) -> bool:
        end = self.catalogue.end_of(dataset.name, directory.name)
        for number, path in files.numbered(directory).items():
            sealed = end is not None and number <= end.file
            if sealed or (dataset.name, directory.name, number) in self._files:
                continue  # also files that were finished since: they were open when the others were taken
            header, _ = files.header_of(path, read_file(path))
            if header.opened is None or header.opened < cut:
                return True
        return False

    def unlink_sealed(self, dataset: Dataset) -> None:
        """Remove the journal files that a manifest in the catalogue covers."""
        for directory in self.directories(dataset):
            end = self.catalogue.end_of(dataset.name, directory.name)
            gone = [path for number, path in files.numbered(directory).items() if end and number <= end.file]
            for path in gone:
                path.unlink()
            if gone:
                sync_directory(directory)
