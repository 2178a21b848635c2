"""Work in a process of its own: its answer, its failure, its death, its end."""

import os
import threading
import time
from pathlib import Path

import pytest

from applog.errors import ChildError
from applog.keeper.child import in_child, opens_alone
from retention.errors import StoreError
from retention.keys import CHEAPEST, PassphraseMasterKey
from retention.store import Store


def process_of(store: Store, more: int) -> tuple[Path, int]:
    """The store, and who does the work."""
    return store.root, os.getpid() + more


def failing(_: Store) -> None:
    """Work that fails as ours does."""
    raise StoreError("the disk is full")


def dying(_: Store) -> None:
    """Work that is killed."""
    os.kill(os.getpid(), 9)


def lasting(_: Store) -> None:
    """Work that takes long."""
    time.sleep(60)


def test_the_answer_comes_from_another_process(store: Store) -> None:
    """It has opened the store by itself."""
    root, process = in_child(store.root, threading.Event(), process_of, more=0)

    assert root == store.root
    assert process != os.getpid()


@pytest.mark.parametrize(("work", "words"), [(failing, "the disk is full"), (dying, "ended early .code -9")])
def test_a_failure_comes_back_in_words(store: Store, work: object, words: str) -> None:
    """Whether it was said or not."""
    with pytest.raises(ChildError, match=words):
        in_child(store.root, threading.Event(), work)  # type: ignore[arg-type]


def test_a_stop_ends_it(store: Store) -> None:
    """Within a second or two, and says that nothing is lost."""
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()

    with pytest.raises(ChildError, match="what it had finished stays"):
        in_child(store.root, stop, lasting)

    assert time.monotonic() - started < 10


def test_only_a_typed_passphrase_keeps_the_work_here(store: Store) -> None:
    """A file with it, or a key in a file, opens the store in a child as well."""
    keys = store.root / "keys"
    plain = opens_alone(store, {})
    (keys / "master.key").unlink()
    PassphraseMasterKey(keys / "master.passphrase", lambda: "", CHEAPEST).create("a long passphrase")

    assert plain
    assert not opens_alone(store, {})
    assert opens_alone(store, {"APPLOG_PASSPHRASE_FILE": "/run/x"})
