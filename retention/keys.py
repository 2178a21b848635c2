"""The only module that reads private keys.

Rules (FORMAT.md 3):
    1. Journals are sealed to a *recipient*: one X25519 key pair per UTC day. Writers need the public half
       only; the private half lies wrapped (AES-KW, RFC 3394) under the master key.
    2. The master key comes through ``MasterKeySource``; a 0600 file is the first of them.
    3. A wrong, missing or exchanged key is refused with words, never half opened.
    4. Key bytes are in no message, log or argument list.
"""

import base64
import datetime as dt
import fcntl
import os
import stat
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from retention.durable import make_directory, write_file
from retention.errors import KeyMaterialError

_PREFIX = b"applog-master-key-1 "
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

DAYS_AHEAD = 8
"""Recipient keys that exist in advance, so that writers go on while no owner of the master key runs."""


class MasterKeySource(Protocol):
    """Where the 32-byte master key comes from."""

    def read(self) -> bytes:
        """The key, or ``KeyMaterialError``."""


class FileMasterKey:
    """A master key in a file only its owner may read. It protects nothing from a thief of the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Make a new key; an existing one is never replaced."""
        if self._path.exists():
            raise KeyMaterialError(f"{self._path} exists already, and nothing was changed")
        write_file(self._path, _PREFIX + base64.b64encode(os.urandom(32)) + b"\n", mode=0o600)

    def read(self) -> bytes:
        """The 32 bytes of the key."""
        try:
            mode = stat.S_IMODE(self._path.stat().st_mode)
            text = self._path.read_bytes()
        except OSError as error:
            raise KeyMaterialError(f"master key {self._path}: {error.strerror}") from error
        if mode & 0o077:
            raise KeyMaterialError(f"master key {self._path}: expected mode 0600, found {mode:04o}")
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX).strip(), validate=True)
        except ValueError:
            key = b""
        if not text.startswith(_PREFIX) or len(key) != 32:
            raise KeyMaterialError(f"master key {self._path}: not a key file of format applog-master-key-1")
        return key


class Recipients:
    """The day keys that journals are sealed to, in one directory: ``DAY.pub`` and ``DAY.key``."""

    def __init__(self, directory: Path, master: MasterKeySource) -> None:
        self._directory = directory
        self._master = master
        self._private: dict[dt.date, X25519PrivateKey] = {}

    def make_ahead(self, today: dt.date) -> None:
        """Make the missing key pairs of *today* and the following days; needs the master key."""
        days = [today + dt.timedelta(days=ahead) for ahead in range(DAYS_AHEAD)]
        if all(self._path(day, "pub").exists() for day in days):
            return
        make_directory(self._directory)
        master = self._master.read()
        with (self._directory / "lock").open("wb") as lock:
            # Two processes at once could leave the private half of one beside the public half of the other.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for day in days:
                if not self._path(day, "pub").exists():
                    self._make(day, master)

    def _make(self, day: dt.date, master: bytes) -> None:
        path = self._path(day, "key")
        if path.exists():  # an interrupted making, or a lost public half: the private one is never replaced
            private = self._read_private(day)
        else:
            private = X25519PrivateKey.generate()
            # Private half first: a public key whose private half is lost would swallow records.
            write_file(path, aes_key_wrap(master, private.private_bytes_raw()), mode=0o600)
        write_file(self._path(day, "pub"), private.public_key().public_bytes_raw())

    def seal(self, day: dt.date, secret: bytes, info: bytes) -> bytes:
        """*secret* so that only the keeper of *day*'s private key can read it (HPKE base mode, RFC 9180)."""
        path = self._path(day, "pub")
        try:
            public = X25519PublicKey.from_public_bytes(path.read_bytes())
        except FileNotFoundError:
            raise KeyMaterialError(
                f"no recipient key for {day}: expected {path}; `applog run` and `applog init` make them ahead"
            ) from None
        except (OSError, ValueError) as error:
            raise KeyMaterialError(f"recipient key {path}: {error}") from error
        return _SUITE.encrypt(secret, public, info)

    def open(self, day: dt.date, sealed: bytes, info: bytes) -> bytes:
        """What ``seal`` was given.

        Raises:
            KeyMaterialError: the key of *day* is missing or another, or *sealed* or *info* was altered.
        """
        if day not in self._private:
            self._private[day] = self._read_private(day)
        try:
            return _SUITE.decrypt(sealed, self._private[day], info)
        except (InvalidTag, ValueError) as error:
            raise KeyMaterialError(f"the recipient key of {day} does not open this journal") from error

    def _read_private(self, day: dt.date) -> X25519PrivateKey:
        path = self._path(day, "key")
        try:
            wrapped = path.read_bytes()
            return X25519PrivateKey.from_private_bytes(aes_key_unwrap(self._master.read(), wrapped))
        except OSError as error:
            raise KeyMaterialError(f"recipient key {path}: {error.strerror}") from error
        except (InvalidUnwrap, ValueError) as error:
            raise KeyMaterialError(f"recipient key {path}: the master key does not open it") from error

    def _path(self, day: dt.date, suffix: str) -> Path:
        return self._directory / f"{day.isoformat()}.{suffix}"
