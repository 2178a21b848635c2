"""The key of a single encrypted file (FORMAT.md 6), which opens nothing else.

Rules:
    1. It is derived from the file's own salt, so it is of no use for any other file of the day.
    2. Whoever gets it opens the file with AES-256-GCM as FORMAT.md 6 says; the day key stays here.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from retention.catalogue import Sealed
from retention.errors import SegmentError
from retention.segment.manifest import associated_data
from retention.vault import HEADER_BYTES, KEY_BYTES


def file_key(sealed: Sealed, day_key: bytes) -> bytes:
    """The key of the segment *sealed*, 32 bytes.

    Raises:
        SegmentError: its file has no header.
        OSError: it cannot be read.
    """
    with sealed.path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
        raise SegmentError(f"segment {sealed.manifest.name}: {sealed.path} is not an encrypted file")
    info = associated_data(sealed.manifest.dataset, bytes.fromhex(sealed.manifest.file_id or ""))
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=header[1 : 1 + KEY_BYTES], info=info).derive(
        day_key
    )
