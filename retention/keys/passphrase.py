"""A master key that lies wrapped under a passphrase.

Rules (FORMAT.md 4.2):
    1. Argon2id (RFC 9106) makes the wrapping key; its cost stands in the file and is bounded when it is
       read, so that an altered file cannot take all memory.
    2. The passphrase is asked for when it is needed, once for each state of the file, and not kept. The
       master key is kept in memory: deriving it takes a second and a quarter of a gibibyte.
    3. Changing the passphrase leaves the master key as it is: an old copy of the file still opens with the
       old passphrase. Against somebody who has both, rotate the master key too.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from retention.durable import read_file, write_file
from retention.errors import KeyMaterialError
from retention.keys.wrapping import MasterKeySource, held, opened

MIN_CHARACTERS = 12

Ask = Callable[[], str]
"""Gives the passphrase, from a prompt or a file; one line feed at its end does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Argon2Cost:
    """What one derivation costs."""

    iterations: int
    lanes: int
    memory_kib: int


ARGON2 = Argon2Cost(iterations=3, lanes=4, memory_kib=262_144)
"""For every new file."""

CHEAPEST = Argon2Cost(iterations=1, lanes=1, memory_kib=8)
"""Only for testing!"""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``master.passphrase``, in this order."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    iterations: Annotated[int, msgspec.Meta(ge=1, le=64)]
    lanes: Annotated[int, msgspec.Meta(ge=1, le=64)]
    memory_kib: Annotated[int, msgspec.Meta(ge=8, le=4 * 262_144)]
    wrapped: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{80}$")]


class PassphraseMasterKey(MasterKeySource):
    """The master key in the file *path*, behind a passphrase that *ask* gives.

    *derived* maps contents of the file to the key they hold; two files that become one share it.
    """

    def __init__(
        self, path: Path, ask: Ask, cost: Argon2Cost = ARGON2, derived: dict[bytes, bytes] | None = None
    ) -> None:
        self.path = path
        self._ask = ask
        self._cost = cost
        self._derived = {} if derived is None else derived
        self._once = threading.Lock()

    def __str__(self) -> str:
        return str(self.path)

    def create(self, passphrase: str) -> None:
        """Make a new master key behind *passphrase*; an existing one is never replaced.

        Raises:
            KeyMaterialError: there is one already, or the passphrase is too short.
            OSError: the disk's.
        """
        if self.path.exists():
            raise KeyMaterialError(f"{self.path} exists already, and nothing was changed")
        self._write(os.urandom(32), passphrase)

    def change(self, passphrase: str) -> None:
        """Put the same master key behind the new *passphrase*; the present one is asked for.

        Raises:
            KeyMaterialError: the present passphrase is wrong, the new one is too short, or a rotation of the
                master key is unfinished, which must still be opened with the present one.
            OSError: the disk's; the present passphrase still opens the key.
        """
        _encoded_new(passphrase)
        self.read()  # asks now, not while others wait for the lock
        with held(self.path.parent / "journal"):
            if self.path.with_name(f"{self.path.name}.next").exists():
                raise KeyMaterialError(
                    f"{self.path}: a rotation of the master key is unfinished; end it first"
                )
            self._write(self.read(), passphrase)

    def read(self) -> bytes:
        """The 32 bytes of the key; asks for the passphrase when the file is new to this object.

        Raises:
            KeyMaterialError: the file is missing or malformed, or the passphrase does not open it.
        """
        try:
            text = read_file(self.path)
        except OSError as error:
            raise KeyMaterialError(f"master key {self.path}: {error.strerror}") from error
        with self._once:
            if text not in self._derived:
                self._derived[text] = self._open(text)
            return self._derived[text]

    def _open(self, text: bytes) -> bytes:
        try:
            file = msgspec.json.decode(text, type=_File)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise KeyMaterialError(
                f"master key {self.path}: not a passphrase file of format 1: {error}"
            ) from None
        cost = Argon2Cost(iterations=file.iterations, lanes=file.lanes, memory_kib=file.memory_kib)
        key = self._derive(_encoded(self._ask()), bytes.fromhex(file.salt), cost)
        master = opened(bytes.fromhex(file.wrapped), key)
        if master is None:
            raise KeyMaterialError(
                f"master key {self.path}: the passphrase does not open it, or the file was altered"
            )
        return master

    def _write(self, master: bytes, passphrase: str) -> None:
        salt, cost = os.urandom(16), self._cost
        wrapped = aes_key_wrap(self._derive(_encoded_new(passphrase), salt, cost), master)
        file = _File(
            format=1,
            salt=salt.hex(),
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_kib=cost.memory_kib,
            wrapped=wrapped.hex(),
        )
        text = msgspec.json.encode(file)
        write_file(self.path, text, mode=0o600)
        self._derived[text] = master

    def _derive(self, passphrase: bytes, salt: bytes, cost: Argon2Cost) -> bytes:
        try:
            return Argon2id(
                salt=salt,
                length=32,
                iterations=cost.iterations,
                lanes=cost.lanes,
                memory_cost=cost.memory_kib,
            ).derive(passphrase)
        except (ValueError, MemoryError) as error:
            raise KeyMaterialError(f"master key {self.path}: Argon2id with {cost}: {error}") from None


def _encoded(passphrase: str) -> bytes:
    # Not by catching UnicodeEncodeError: that one carries the passphrase.
    if any("\ud800" <= character <= "\udfff" for character in passphrase):
        raise KeyMaterialError("passphrase: expected UTF-8")
    return passphrase.removesuffix("\n").encode()


def _encoded_new(passphrase: str) -> bytes:
    length = len(passphrase.removesuffix("\n"))
    if length < MIN_CHARACTERS:
        raise KeyMaterialError(f"passphrase: expected at least {MIN_CHARACTERS} characters, found {length}")
    return _encoded(passphrase)
