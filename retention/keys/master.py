"""Where the master key comes from, and which of the ways is this store's.

Rules (FORMAT.md 4):
    1. A store has its master key in exactly one place: ``master.key``, ``master.passphrase``, or the systemd
       credential ``applog-master-key``. None or two is refused, with the places named.
    2. During a rotation ``.next`` lies beside it, and is tried first: from the moment it is there new files
       are wrapped under it, and the old one may be gone or half gone.
    3. A passphrase comes from the file named by APPLOG_PASSPHRASE_FILE or from whom the caller asks, never
       from an argument list.
"""

import base64
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from retention.durable import read_file, write_file
from retention.errors import KeyMaterialError
from retention.keys.passphrase import ARGON2, Argon2Cost, Ask, PassphraseMasterKey
from retention.keys.wrapping import MasterKeySource

CREDENTIAL = "applog-master-key"
PASSPHRASE_FILE = "APPLOG_PASSPHRASE_FILE"  # noqa: S105  the name of a variable

_PREFIX = b"applog-master-key-1 "


class FileMasterKey(MasterKeySource):
    """A master key in a file only its owner may read. It protects nothing from a thief of the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def create(self) -> None:
        """Make a new key; an existing one is never replaced."""
        if self.path.exists():
            raise KeyMaterialError(f"{self.path} exists already, and nothing was changed")
        write_file(self.path, _PREFIX + base64.b64encode(os.urandom(32)) + b"\n", mode=0o600)

    def read(self) -> bytes:
        """The 32 bytes of the key."""
        text, mode = _read_secret(self.path, "master key")
        if mode & 0o077:
            raise KeyMaterialError(f"master key {self.path}: expected mode 0600, found {mode:04o}")
        return _parse(self.path, text)


class CredentialMasterKey(MasterKeySource):
    """A master key that systemd decrypts for its service alone; the text is that of ``master.key``."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / CREDENTIAL

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> bytes:
        """The 32 bytes of the key; group rights are systemd's own way, rights for others are refused."""
        text, mode = _read_secret(self.path, "master key")
        _refuse_others(self.path, mode, "master key")
        return _parse(self.path, text)


Place = FileMasterKey | PassphraseMasterKey | CredentialMasterKey

_PlaceT = TypeVar("_PlaceT", bound=Place)


class StoreMasterKey(MasterKeySource):
    """The master key of the store whose keys lie in *directory*, wherever it is at the moment of reading."""

    def __init__(
        self, directory: Path, environ: Mapping[str, str], ask: Ask, cost: Argon2Cost = ARGON2
    ) -> None:
        self.directory = directory
        ask = _passphrase(environ, ask)
        derived: dict[bytes, bytes] = {}
        now, coming = directory / "master.passphrase", directory / "master.passphrase.next"
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        self._now: tuple[Place, ...] = (
            FileMasterKey(directory / "master.key"),
            PassphraseMasterKey(now, ask, cost, derived),
            *([CredentialMasterKey(Path(credentials))] if credentials else []),
        )
        self.next_file = FileMasterKey(directory / "master.key.next")
        """Where a rotation puts the new key, if it is to lie in a file."""
        self.next_passphrase = PassphraseMasterKey(coming, ask, cost, derived)
        """The same, behind a passphrase."""

    def __str__(self) -> str:
        return str(self.current() or self.upcoming() or self.directory)

    def current(self) -> Place | None:
        """Where the key lies; None if nowhere, as it may be at the end of a rotation.

        Raises:
            KeyMaterialError: it lies in more than one place.
        """
        return _only(self._now)

    def upcoming(self) -> FileMasterKey | PassphraseMasterKey | None:
        """Where a rotation that is not finished put the new key, or None."""
        coming: tuple[FileMasterKey | PassphraseMasterKey, ...] = (self.next_file, self.next_passphrase)
        return _only(coming)

    def read(self) -> bytes:
        """The key that new files are wrapped under: the new one as soon as it is there.

        Raises:
            KeyMaterialError: there is none, more than one, or it cannot be read.
        """
        return next(self.candidates())

    def candidates(self) -> Iterator[bytes]:
        """The new key, if a rotation is unfinished, then the old one; what cannot be read is left out.

        Raises:
            KeyMaterialError: none can be read.
        """
        places = [place for place in (self.upcoming(), self.current()) if place is not None]
        if not places:
            raise KeyMaterialError(
                f"no master key: expected {' or '.join(str(place) for place in self._now)}"
                f"{'' if len(self._now) > 2 else f' or the systemd credential {CREDENTIAL}'}"
            )
        refusals: list[KeyMaterialError] = []
        for place in places:
            try:
                key = place.read()
            except KeyMaterialError as error:
                refusals.append(error)
            else:
                yield key
        if len(refusals) == len(places):
            raise refusals[0]


def find_master(
    directory: Path, environ: Mapping[str, str], ask: Ask, cost: Argon2Cost = ARGON2
) -> StoreMasterKey:
    """The master key of the store whose keys lie in *directory*; it is found, not yet read.

    Raises:
        KeyMaterialError: it is in none of the three places, or in more than one.
    """
    master = StoreMasterKey(directory, environ, ask, cost)
    if master.current() is None and master.upcoming() is None:
        next(master.candidates())  # says so
    return master


def _only(places: Sequence[_PlaceT]) -> _PlaceT | None:
    try:
        found = [place for place in places if place.path.exists()]
    except OSError as error:
        raise KeyMaterialError(f"master key {places[0].path}: {error.strerror}") from error
    if len(found) > 1:
        raise KeyMaterialError(
            f"the keys are mixed up: expected one master key, found {' and '.join(map(str, found))}"
        )
    return found[0] if found else None


def _passphrase(environ: Mapping[str, str], ask: Ask) -> Ask:
    """*ask*, unless a file was named."""
    named = environ.get(PASSPHRASE_FILE)
    if not named:
        return ask

    def read() -> str:
        path = Path(named)
        text, mode = _read_secret(path, "passphrase file")
        _refuse_others(path, mode, "passphrase file")
        return text.decode(errors="surrogateescape")  # refused where it is used, without showing it

    return read


def _read_secret(path: Path, what: str) -> tuple[bytes, int]:
    """Content and mode of a file."""
    try:
        return read_file(path), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise KeyMaterialError(f"{what} {path}: {error.strerror}") from error


def _refuse_others(path: Path, mode: int, what: str) -> None:
    if mode & 0o007:
        raise KeyMaterialError(f"{what} {path}: expected no rights for others, found mode {mode:04o}")


def _parse(path: Path, text: bytes) -> bytes:
    """The key in the text of a key file."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX).strip(), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or len(key) != 32:
        raise KeyMaterialError(f"master key {path}: not a key file of format applog-master-key-1")
    return key
