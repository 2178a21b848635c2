"""What commands share that run until they are stopped."""

import logging
import signal
import threading
from collections.abc import Callable

from retention.text import wire_text


class _Formatter(logging.Formatter):
    """Escapes what names of files could bring: no message moves the cursor or forges a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        record.message = wire_text(record.message.encode("utf-8", "surrogateescape"))
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Show what happens, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("schedule").setLevel(logging.WARNING)


def until_stopped(work: Callable[[], None] = lambda: None) -> None:
    """Call *work* four times a second until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0.25):
        work()
