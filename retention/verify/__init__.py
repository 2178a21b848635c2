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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from retention.dataset import Dataset
from retention.durable import read_file
from retention.errors import RetentionError, VerificationError, VerificationFailedError
from retention.keys import DayKeys, SigningKeys
from retention.ledger.log import check_extends
from retention.ledger.view import LedgerView, read_ledger
from retention.verify.journals import check_journals
from retention.verify.model import Check, Manifests, Progress, Scope
from retention.verify.rows import check_all_rows, check_heads
from retention.verify.structure import (
    UNANCHORED,
    check_anchor,
    check_contiguity,
    check_files,
    check_ledger,
    check_manifests,
)

__all__ = ["UNANCHORED", "Check", "Progress", "Scope", "Verifier", "check_heads"]

_AGAIN = 2
"""How often a check that failed is done again because the ledger grew: it grows each minute."""


@dataclass(kw_only=True)
class Verifier:
    """Verifies one data directory."""

    root: Path
    created: int
    """When the store was made, UTC µs."""
    datasets: Sequence[Dataset]
    day_keys: DayKeys
    scope: Scope
    signing_keys: SigningKeys | None = None
    """With them ``deep`` also makes sure that the ledger's key is this store's."""
    progress: Progress = lambda _done, _all: None
    _manifests: Manifests = field(default_factory=dict)

    def checks(self) -> Iterator[Check]:
        """Every check as it is done.

        Raises:
            VerificationError: the ledger itself does not hold, so that nothing can be held against it.
            VerificationFailedError: behind the last check, if any failed.
        """
        failures: list[RetentionError] = []
        view = read_ledger(self.root / "ledger")
        for step in self._steps():
            check = step(view)
            for _ in range(_AGAIN):
                if not check.failures:
                    break
                newer = read_ledger(self.root / "ledger")
                if newer.signed == view.signed:
                    break
                view = newer  # something was sealed or expired meanwhile, which is no failure
                reloaded = self._load(view)
                check = step(view)
                if check.number != reloaded.number:
                    check = replace(check, failures=(*check.failures, *reloaded.failures))
            failures += check.failures
            yield check
        if failures:
            raise VerificationFailedError(failures)

    def _steps(self) -> list[Callable[[LedgerView], Check]]:
        scope = self.scope
        steps: list[Callable[[LedgerView], Check]] = [
            lambda view: check_ledger(view, self._signer(view)),
            lambda view: check_anchor(view, scope.anchor),
            self._load,
            lambda _: check_contiguity(self._manifests, self.created),
            lambda view: check_files(self._manifests, view.state, scope, self.progress),
            lambda view: check_journals(self.root, self._manifests, view.state),
        ]
        if scope.deep:
            steps.append(
                lambda view: check_all_rows(
                    self._manifests, view.state, scope, self.datasets, self.day_keys, self.progress
                )
            )
        return steps

    def _signer(self, view: LedgerView) -> list[RetentionError]:
        """What contradicts the signer's own memory and key, as far as they may be read."""
        directory = self.root / "keys" / "signing"
        try:
            if not directory.exists():
                return []  # a copy without keys
            check_extends(
                view.leaves[: view.checkpoint.size], read_file(directory / "last-signed"), view.state
            )
            if self.scope.deep and self.signing_keys is not None:
                self.signing_keys.signer(view.state.key)
        except PermissionError:
            return []  # whoever verifies need not be able to read the keys
        except OSError as error:
            return [VerificationError(f"what was signed last, {error.filename}: {error.strerror}")]
        except RetentionError as error:
            return [error]
        return []

    def _load(self, view: LedgerView) -> Check:
        self._manifests, check = check_manifests(self.root, view)
        return check
