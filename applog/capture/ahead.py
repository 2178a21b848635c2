"""Lets one stage of reading run ahead of the next in a thread of its own, by a bounded number of steps.

Rules:
    1. Order is kept; what the first stage raises is raised where the second one stands.
    2. When the second stage stops early, the first one stops too, and its thread has ended.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_TURN_SECONDS = 0.1


class _End:
    """Says that the stage is over, and what ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(stage: Iterable[T], steps: int) -> Iterator[T]:
    """The items of *stage*, which is at most *steps* ahead."""
    waiting: queue.Queue[T | _End] = queue.Queue(steps)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=_TURN_SECONDS)
                return

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in stage:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as raised:  # noqa: BLE001  raised again where the items are used
            error = raised
        put(_End(error))

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
