"""Work in a process of its own.

Rules:
    1. Sealing and verifying take a processor and half a gibibyte for a while. In a process of their own they
       hold nothing up here, an out-of-memory kill ends them alone, and all their memory goes back.
    2. The process is spawned, not forked: a fork of a process with threads may inherit a held lock.
    3. Answers and failures come back as plain values; what the child wrote is on the disk and safe to leave,
       so it is ended without ado when the keeper stops.
    4. A store whose passphrase was typed is worked on here: nobody would type it into the child.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from applog.errors import ChildError
from retention.errors import RetentionError
from retention.keys import PassphraseMasterKey
from retention.keys.master import PASSPHRASE_FILE
from retention.store import Store

_LOOK_SECONDS = 0.25
_P = ParamSpec("_P")
_T = TypeVar("_T")


def opens_alone(store: Store, environment: dict[str, str]) -> bool:
    """Whether another process can open *store* without anybody typing a passphrase."""
    return bool(environment.get(PASSPHRASE_FILE)) or not isinstance(
        store.master.current(), PassphraseMasterKey
    )


def in_child(
    root: Path,
    stop: threading.Event,
    work: Callable[Concatenate[Store, _P], _T],
    *arguments: _P.args,
    **named: _P.kwargs,
) -> _T:
    """What *work*, a function of a module, answers for the store at *root* in a process of its own.

    Raises:
        ChildError: it failed, was killed, or *stop* was set meanwhile.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, root, work, arguments, named), daemon=True)
    process.start()
    theirs.close()
    try:
        while not ours.poll(_LOOK_SECONDS):
            if stop.is_set():
                raise ChildError(f"{work.__name__} was stopped; what it had finished stays")
        succeeded, answer = ours.recv()
    except EOFError:
        process.join()
        raise ChildError(f"{work.__name__} ended early (code {process.exitcode}); out of memory?") from None
    finally:
        ours.close()
        process.terminate()
        process.join()
    if not succeeded:
        raise ChildError(answer)
    result: _T = answer
    return result


def _main(
    pipe: Connection,
    root: Path,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    """In the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the keeper, which ends us
    try:
        answer = (True, work(Store.open(root), *arguments, **named))
    except (RetentionError, OSError) as error:
        answer = (False, str(error))
    pipe.send(answer)
