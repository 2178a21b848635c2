"""The keys that sign the ledger's checkpoints.

Rules (FORMAT.md 4, 8.4):
    1. The ledger says which public key signs; a private key is used only if it gives exactly that one.
    2. A file is named by the four bytes of the note's key ID, and never replaced.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention.durable import make_directory
from retention.errors import KeyMaterialError
from retention.keys.wrapping import MasterKeySource, making, unwrap, write_wrapped
from retention.note import Signer, VerifierKey


class SigningKeys:
    """The ledger's signing keys, in one directory: ``KEY_ID.key``."""

    def __init__(self, directory: Path, master: MasterKeySource) -> None:
        self._directory = directory
        self._lock = directory.parent / "journal"
        self._master = master

    def create(self, name: str) -> Signer:
        """A new key under *name* (for the ledger: its origin), durable before it can sign.

        Raises:
            NoteError: *name* is none.
            KeyMaterialError: another key has the same ID, once in 2³²: create again.
            OSError: the disk's.
        """
        private = Ed25519PrivateKey.generate()
        signer = _PrivateSigner(private, VerifierKey.of(name, _public(private)))
        path = self._path(signer.key)
        with making(self._lock, self._master) as master:
            if path.exists():
                raise KeyMaterialError(f"{path} exists already, and nothing was changed")
            make_directory(self._directory, mode=0o700)
            write_wrapped(path, private.private_bytes_raw(), master)
        return signer

    def signer(self, key: VerifierKey) -> Signer:
        """What signs as *key*.

        Raises:
            KeyMaterialError: its private key is missing, altered, or another's.
        """
        path = self._path(key)
        private = Ed25519PrivateKey.from_private_bytes(unwrap(path, self._master, 32))
        if _public(private) != key.public:
            raise KeyMaterialError(
                f"key {path}: expected the private key of {key}, found that of {_public(private).hex()}"
            )
        return _PrivateSigner(private, key)

    def _path(self, key: VerifierKey) -> Path:
        return self._directory / f"{key.key_id.hex()}.key"


class _PrivateSigner:
    """A ``note.Signer`` whose private key is in this process."""

    def __init__(self, private: Ed25519PrivateKey, key: VerifierKey) -> None:
        self._private = private
        self._key = key

    @property
    def key(self) -> VerifierKey:
        """What verifies the signatures."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """64 bytes (RFC 8032, pure Ed25519)."""
        return self._private.sign(message)


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()
