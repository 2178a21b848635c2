"""A process that dies at one call to the disk: nothing happens after that, tidying included.

Beside ``disk.Disk``, which fails calls to a process that lives on. What was written stays written: only syncs
that the order of the calls promises are relied upon (``test_durable``).
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.disk import only_reads


class PowerCutError(BaseException):
    """The process is gone; no ``except Exception`` of it runs."""


class Power:
    """Counts the calls that change the disk, and cuts the power at one of them."""

    CALLS = ("open", "write", "fsync", "rename", "unlink", "mkdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self._step: int | None = None
        self._form = ""
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def cut(self, step: int, form: str) -> None:
        """Cut at call number *step* (0: the next), before its effect ("failed") or after it ("persisted")."""
        self.calls.clear()
        self._step, self._form = step, form

    def restore(self) -> None:
        """The machine starts again."""
        self._step = None

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            if name == "open" and only_reads(args[1]):
                return call(*args, **named)
            step = len(self.calls)
            self.calls.append(name)
            if self._step is None or step < self._step:
                return call(*args, **named)
            if step == self._step and self._form == "persisted":
                done = call(*args, **named)
                if name == "open":
                    os.close(done)
            raise PowerCutError(f"{name}, call {step}")

        return watched
