"""Who looked through the keeper: its own journal of the audit dataset.

Rules:
    1. One journal, open as long as the keeper runs: looks come often, and each new file costs syncs.
    2. A look whose record cannot be written is not answered.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from applog import audit
from retention.errors import JournalWriteError
from retention.journal import JournalWriter
from retention.records import AUDIT
from retention.store import Store

WRITER = "keeper"


@dataclass(kw_only=True)
class Register:
    """Writes audit records. Threads may share it."""

    store: Store
    _writer: JournalWriter | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, actor: audit.Actor, **fields: Any) -> None:
        """Write one audit record; it is durable when this returns.

        Raises:
            RetentionError: it could not be written.
        """
        batch = AUDIT.batch([audit.entry(self.store.clock(), actor, **fields)])
        with self._lock:
            if self._writer is None:
                self._writer = self.store.writer(AUDIT, WRITER, wait_seconds=1.0)
            writer = self._writer
        try:
            writer.append(batch)
        except JournalWriteError:
            self._let_go(writer)  # the next look begins a new file, when the disk takes one
            raise

    def _let_go(self, writer: JournalWriter) -> None:
        """Close *writer*, which failed, unless another thread did and has begun the next one."""
        with self._lock:
            if self._writer is not writer:
                return
            self._writer = None
        writer.close()

    def close(self) -> None:
        """Let go of the journal."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
