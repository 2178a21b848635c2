"""Files encrypted in chunks, so that any part of them can be read alone.

The layout is Google Tink's "AES-GCM-HKDF Streaming AEAD" (developers.google.com/tink/streaming-aead) with
AES-256, HKDF-SHA256 and ciphertext segments, here *chunks*, of 65,536 bytes.

Rules:
    1. File = header ‖ chunk 0 ‖ chunk 1 ‖ …; header = byte 40 ‖ salt (32) ‖ nonce prefix (7). Salt and prefix
       are random for every file: no key and nonce are used twice.
    2. File key = HKDF-SHA256(ikm = key, salt, info = associated data, 32 bytes). Chunk i = AES-256-GCM with
       nonce prefix ‖ u32 i ‖ flag, which is 1 in the last chunk and 0 in the others, and no associated data.
    3. A chunk ends with its tag of 16 bytes. Header and chunk 0 together, and every other chunk but the last,
       take 65,536 bytes. Only chunk 0 may hold no plaintext.
    4. Opening authenticates the last chunk: a cut or extended file is refused before anything is read.
    5. No byte leaves this module before its chunk is authenticated; a buffer whose chunk fails is wiped.
    6. Plaintext is in memory only. Errors of the disk leave as the ``OSError`` they are.
"""

from retention.vault.chunks import (
    CHUNK_BYTES,
    HEADER_BYTES,
    KEY_BYTES,
    FileKey,
    chunk_of,
    damaged_chunks,
    encrypt,
    encrypted_size,
    file_key,
)
from retention.vault.file import VaultFile, VaultView, VaultWindow

__all__ = [
    "CHUNK_BYTES",
    "HEADER_BYTES",
    "KEY_BYTES",
    "FileKey",
    "VaultFile",
    "VaultView",
    "VaultWindow",
    "chunk_of",
    "damaged_chunks",
    "encrypt",
    "encrypted_size",
    "file_key",
]
