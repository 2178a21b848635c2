"""What attacks on a store's files share: ways to exchange them, and everybody who should notice."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retention.errors import RetentionError
from retention.ledger.view import read_ledger
from retention.merkle import leaf_hash, root
from retention.note import Checkpoint, VerifierKey, sign_checkpoint
from tests.support.disk import flip, put
from tests.support.sealed import SealedStore


def swap(one: Path, other: Path) -> None:
    """Exchange two files."""
    first, second = one.read_bytes(), other.read_bytes()
    put(one, second)
    put(other, first)


@contextmanager
def flipped_bit(path: Path, offset: int) -> Iterator[None]:
    """One bit of one byte of *path* is another inside the block."""
    mask = 1 << offset % 8
    flip(path, offset, mask)
    try:
        yield
    finally:
        flip(path, offset, mask)


def noticed(target: SealedStore) -> list[str]:
    """What a new process complains of that opens the store, verifies deeply, and reads all of it."""
    try:
        again = target.reopened()
        failures = again.verify(deep=True)
        for dataset in again.datasets:
            failures += map(str, again.store.read(dataset, deep=True).damages)
        again.store.unlock()
    except RetentionError as error:
        return [str(error)]
    return failures


def ledger_complaint(target: SealedStore) -> str:
    """Why the ledger cannot be read; empty when it can."""
    try:
        read_ledger(target.root / "ledger")
    except RetentionError as error:
        return str(error)
    return ""


def refused(target: SealedStore) -> str:
    """Why a new process refuses to seal; empty when it does not."""
    try:
        target.reopened().seal_all()
    except RetentionError as error:
        return str(error)
    return ""


def sign_lines(target: SealedStore, lines: list[bytes]) -> None:
    """Make *lines* the ledger, whatever they say, and sign them with the store's own key."""
    first = next(line for line in lines if b'"action":"signing"' in line)
    key = VerifierKey.parse(json.loads(first)["key"])
    leaves = [leaf_hash(line) for line in lines]
    checkpoint = Checkpoint(origin=key.name, size=len(lines), root=root(leaves))
    signed = sign_checkpoint(checkpoint, [target.store.signing_keys.signer(key)])
    put(target.entries, b"".join(line + b"\n" for line in lines))
    put(target.checkpoint, signed)
    put(target.last_signed, signed)


def ledger_lines(target: SealedStore) -> list[bytes]:
    """The entries, without line feeds."""
    return target.entries.read_bytes().splitlines()


@contextmanager
def no_hang(seconds: int = 20) -> Iterator[None]:
    """Fail, rather than wait for ever."""

    def too_long(_number: int, _frame: object) -> None:
        pytest.fail(f"it waited for {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
