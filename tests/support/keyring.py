"""The keys of a store, small and quick to make; and what no text may show of them."""

import base64
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pytest

from retention.keys import (
    CHEAPEST,
    DayKeys,
    FileMasterKey,
    MasterKeySource,
    PassphraseMasterKey,
    Recipients,
    SigningKeys,
    StoreMasterKey,
    recipients,
    write_check,
)
from retention.keys.wrapping import unwrap, wrapped_files

PASSPHRASE = "correct horse battery"  # noqa: S105
STORE = "5f" * 16
"""A store_id."""

DAY = dt.date(2026, 3, 1)


@dataclass
class Held(MasterKeySource):
    """A master key in the test's hand."""

    key: bytes

    def read(self) -> bytes:
        """The key."""
        return self.key


def master_of(directory: Path, passphrase: str = PASSPHRASE) -> StoreMasterKey:
    """The master key of the store, as a new process finds it."""
    return StoreMasterKey(directory, {}, lambda: passphrase, CHEAPEST)


def make_keys(directory: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory ``keys`` with one wrapped key of each sort, or two; *kind* is file or passphrase."""
    directory.mkdir(mode=0o700)
    master = master_of(directory)
    if kind == "file":
        FileMasterKey(directory / "master.key").create()
    else:
        PassphraseMasterKey(directory / "master.passphrase", lambda: PASSPHRASE, CHEAPEST).create(PASSPHRASE)
    write_check(directory, master, STORE)
    monkeypatch.setattr(recipients, "DAYS_AHEAD", 2)
    Recipients(directory / "journal", master).make_ahead(DAY)
    DayKeys(directory / "day", master).make("flow", DAY)
    SigningKeys(directory / "signing", master).create(f"applog/{STORE}")


def secrets(directory: Path, master: MasterKeySource) -> dict[str, bytes]:
    """What every wrapped file holds, by its path in *directory*; one that does not open raises."""
    return {str(path.relative_to(directory)): unwrap(path, master) for path in wrapped_files(directory)}


def said(error: BaseException | None) -> str:
    """Everything that *error* and its causes say."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return " ".join(texts)


def shown(secret: bytes, text: str) -> bool:
    """Whether *text* shows *secret* in one of the usual forms."""
    return any(form in text for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]))
