"""The day keys that journals are sealed to.

Rules (FORMAT.md 4):
    1. One X25519 key pair per UTC day, made ahead. Writers need the public half only.
    2. The private half is written first, never replaced, and shredded last: a public key whose private half
       is gone would swallow records.
    3. The wrapping does not name the day; a key under another day's name opens nothing, which is said.
"""

import datetime as dt
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from retention.durable import read_file, shred, write_file
from retention.errors import KeyMaterialError
from retention.keys.wrapping import MasterKeySource, held, making, unwrap, write_wrapped

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

DAYS_AHEAD = 8
"""Recipient keys that exist in advance, so that writers go on while no owner of the master key runs."""


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
        # Two processes at once could leave the private half of one beside the public half of the other.
        with making(self._directory, self._master) as master:
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
            write_wrapped(path, private.private_bytes_raw(), master)
        write_file(self._path(day, "pub"), private.public_key().public_bytes_raw())

    def seal(self, day: dt.date, secret: bytes, info: bytes) -> bytes:
        """*secret* so that only the keeper of *day*'s private key can read it (HPKE base mode, RFC 9180)."""
        path = self._path(day, "pub")
        try:
            public = X25519PublicKey.from_public_bytes(read_file(path))
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

    def days(self) -> list[dt.date]:
        """Days of which a half is there, in order; also those whose shredding was cut short."""
        paths = [path for suffix in ("pub", "key") for path in self._directory.glob(f"*.{suffix}")]
        return sorted({day for path in paths if (day := day_of(path)) is not None})

    def shred(self, day: dt.date) -> None:
        """Destroy the pair of *day*: no journal of that day opens again. Gone already is done.

        The caller makes sure that no journal of *day* is needed and that nobody writes to one. Another
        process that opened a journal of *day* keeps the key in memory until it ends.

        Raises:
            OSError: the disk's; call again to finish.
        """
        with held(self._directory):
            shred(self._path(day, "pub"))
            shred(self._path(day, "key"))
        self._private.pop(day, None)

    def _read_private(self, day: dt.date) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(unwrap(self._path(day, "key"), self._master, 32))

    def _path(self, day: dt.date, suffix: str) -> Path:
        return self._directory / f"{day.isoformat()}.{suffix}"


def day_of(path: Path) -> dt.date | None:
    """The day that a key file is named after; None if it is no key file of a day."""
    try:
        day = dt.date.fromisoformat(path.stem)
    except ValueError:
        return None
    return day if day.isoformat() == path.stem else None
