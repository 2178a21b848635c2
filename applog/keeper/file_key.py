"""The key of a single encrypted file (FORMAT.md 6), which opens nothing else of its day."""

from retention.catalogue import Sealed
from retention.segment.manifest import associated_data
from retention.vault import file_key as derive


def file_key(sealed: Sealed, day_key: bytes) -> bytes:
    """The key of the segment *sealed*, 32 bytes: ``retention.vault.FileKey`` of it opens the file.

    Raises:
        VaultDamagedError: it is not an encrypted file.
        OSError: it cannot be read.
    """
    manifest = sealed.manifest
    associated = associated_data(manifest.dataset, bytes.fromhex(manifest.file_id or ""))
    return bytes(derive(sealed.path, day_key, associated))
