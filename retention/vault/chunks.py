"""The chunks of an encrypted file: layout, keys, encryption, reading. Rules in ``retention.vault``."""

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from retention.errors import KeyMaterialError, VaultDamagedError

CHUNK_BYTES = 65_536
"""Size of a chunk in the file, tag included; that of chunk 0 with the header before it."""

HEADER_BYTES = 40
"""Length byte, salt and nonce prefix."""

KEY_BYTES = 32
"""Size of the key a caller gives, of the salt and of the file's own key."""

_PREFIX_BYTES = 7
_TAG_BYTES = 16
_PLAIN_BYTES = CHUNK_BYTES - _TAG_BYTES
_MAX_CHUNKS = 1 << 32
_MAX_PLAIN = _MAX_CHUNKS * _PLAIN_BYTES - HEADER_BYTES

_CACHED = 16
"""Decrypted chunks kept for each open file (1 MiB): those that were read in part."""

_RUN = 16
"""Chunks read from the disk at once (1 MiB). More gains nothing and leaves the processor's cache."""


def encrypted_size(plain_size: int) -> int:
    """Size in bytes of the file that holds *plain_size* bytes.

    Raises:
        ValueError: *plain_size* is negative, or needs more than 2^32 chunks (256 TiB).
    """
    if not 0 <= plain_size <= _MAX_PLAIN:
        raise ValueError(f"plaintext of a vault file: expected 0 to {_MAX_PLAIN} bytes, found {plain_size}")
    return HEADER_BYTES + plain_size + _TAG_BYTES * (_chunk_at(max(plain_size - 1, 0)) + 1)


def chunk_of(offset: int) -> int:
    """Number of the chunk at byte *offset* of an encrypted file; the header counts to chunk 0."""
    return offset // CHUNK_BYTES


def encrypt(key: bytes, associated: bytes, plain: bytes | memoryview) -> Iterator[bytes]:
    """The file for *plain*, piece by piece: the header, then each chunk; ``encrypted_size`` bytes in all.

    A caller writes each piece to its open file and feeds it to its digest. *plain* must not change meanwhile.

    Args:
        key: 32 secret bytes; may be used for any number of files.
        associated: what the file is; reading it needs the same bytes. It is not stored.
        plain: any contiguous buffer.

    Raises:
        KeyMaterialError: *key* is not of 32 bytes.
        ValueError: *plain* is too large (``encrypted_size``).
    """
    return _encrypt(key, associated, plain, os.urandom(KEY_BYTES + _PREFIX_BYTES))


def _encrypt(key: bytes, associated: bytes, plain: bytes | memoryview, random: bytes) -> Iterator[bytes]:
    """``encrypt`` with *random* as salt and nonce prefix: for test vectors only, for it must never repeat."""
    view = memoryview(plain).cast("B")
    encrypted_size(len(view))
    return _pieces(bytes([HEADER_BYTES]) + random, _cipher(key, associated, random[:KEY_BYTES]), view)


def _pieces(header: bytes, cipher: AESGCM, plain: memoryview) -> Iterator[bytes]:
    prefix = header[-_PREFIX_BYTES:]
    last = _chunk_at(max(len(plain) - 1, 0))
    yield header
    for index in range(last + 1):
        nonce = _nonce(prefix, index, last=index == last)
        yield cipher.encrypt(nonce, plain[_plain_start(index) : _plain_start(index + 1)], None)


def damaged_chunks(path: Path, key: bytes, associated: bytes) -> list[VaultDamagedError]:
    """Every chunk of *path* that does not open, in order; empty if the file is whole.

    Unlike ``VaultFile`` it also takes files whose last chunk is damaged. With another key or other associated
    data every chunk is listed.

    Raises:
        VaultDamagedError: not a file of this layout at all: its size or its length byte cannot be.
        KeyMaterialError, OSError: as ``VaultFile``.
    """
    chunks = Chunks(path, key, associated)
    try:
        return [found for found in chunks.try_all() if isinstance(found, VaultDamagedError)]
    finally:
        chunks.close()


def _chunk_at(plain_offset: int) -> int:
    """Number of the chunk that holds the byte at *plain_offset*: the header stands where plaintext would."""
    return (plain_offset + HEADER_BYTES) // _PLAIN_BYTES


def _plain_start(index: int) -> int:
    return max(index * _PLAIN_BYTES - HEADER_BYTES, 0)


def _file_start(index: int) -> int:
    return max(index * CHUNK_BYTES, HEADER_BYTES)


def _nonce(prefix: bytes, index: int, *, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + bytes([last])


class FileKey(bytes):
    """The key of one file alone, which opens no other: what may leave the keeper instead of a day key."""


def file_key(path: Path, key: bytes, associated: bytes) -> FileKey:
    """The key of the file at *path*, which was encrypted with *key* and *associated*.

    Raises:
        VaultDamagedError: it is no encrypted file.
        OSError: it cannot be read.
    """
    chunks = Chunks(path, key, associated)
    try:
        return _derived(key, associated, chunks.salt)
    finally:
        chunks.close()


def _derived(key: bytes, associated: bytes, salt: bytes) -> FileKey:
    if len(key) != KEY_BYTES:
        raise KeyMaterialError(f"key of a vault file: expected {KEY_BYTES} bytes, found {len(key)}")
    if isinstance(key, FileKey):
        return key
    return FileKey(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=associated).derive(key))


def _cipher(key: bytes, associated: bytes, salt: bytes) -> AESGCM:
    return AESGCM(_derived(key, associated, salt))


class _Cache:
    """The chunks that were used last. Its lock is for the bookkeeping: two threads may decrypt one chunk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def get(self, index: int) -> bytes | None:
        """Plaintext of chunk *index*, if it is kept."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
            return self._kept.get(index)

    def put(self, index: int, plain: bytes) -> None:
        """Keep *plain*, and let go of what was used longest ago."""
        with self._lock:
            self._kept[index] = plain
            self._kept.move_to_end(index)
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)


class Chunks:
    """The chunks of one file, opened. For any number of threads; it never moves a position.

    A reader holds a reference while it reads, and the descriptor is closed with the last one: otherwise its
    number could come to mean another file under a reader, which would look like damage.
    """

    _descriptor = -1

    def __init__(self, path: Path, key: bytes, associated: bytes, descriptor: int | None = None) -> None:
        self.path = path
        # Opening a pipe would wait for its writer for ever.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(path, flags) if descriptor is None else os.dup(descriptor)
        try:
            self._length = self._plausible_length()
            self.count = -(-self._length // CHUNK_BYTES)
            self.size = self._length - HEADER_BYTES - _TAG_BYTES * self.count
            header = self._header()
            self._prefix = header[-_PREFIX_BYTES:]
            self.salt = header[1 : 1 + KEY_BYTES]
            self._cipher = _cipher(key, associated, self.salt)
        except BaseException:
            self.close()
            raise
        self._cache = _Cache()

    def _plausible_length(self) -> int:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise VaultDamagedError(self.path, 0, 0, "not a regular file")
        last = max(found.st_size - 1, 0) // CHUNK_BYTES
        shortest = last * CHUNK_BYTES + _TAG_BYTES + 1 if last else HEADER_BYTES + _TAG_BYTES
        if found.st_size < shortest or last >= _MAX_CHUNKS:
            what = f"no vault file has {found.st_size} bytes: it was cut or extended"
            raise VaultDamagedError(self.path, last, last * CHUNK_BYTES, what)
        return found.st_size

    def _header(self) -> bytes:
        header = self._bytes(0, HEADER_BYTES)
        if header[0] != HEADER_BYTES:
            what = f"expected a header of {HEADER_BYTES} bytes, found {header[0]}"
            raise VaultDamagedError(self.path, 0, 0, what)
        return header

    def close(self) -> None:
        """Give the descriptor back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _plain_length(self, index: int) -> int:
        return min(_plain_start(index + 1), self.size) - _plain_start(index)

    def open_last(self) -> None:
        """Authenticate the last chunk (rule 4) and keep it: what is read first is often the end."""
        index = self.count - 1
        self._cache.put(index, self._open(index, self._sealed(index, index)))

    def fill(self, offset: int, out: memoryview) -> None:
        """Put the plaintext from *offset* on into all of *out*; it must lie in the file."""
        first, last = _chunk_at(offset), _chunk_at(offset + len(out) - 1)
        for start in range(first, last + 1, _RUN):
            self._fill_run(range(start, min(start + _RUN, last + 1)), offset, out)

    def _fill_run(self, run: range, offset: int, out: memoryview) -> None:
        kept = {index: self._cache.get(index) for index in run}
        missing = [index for index in run if kept[index] is None]
        sealed = self._sealed(missing[0], missing[-1]) if missing else memoryview(b"")
        for index in run:
            start = _plain_start(index) - offset
            stop = start + self._plain_length(index)
            plain = kept[index]
            if plain is None:
                body = self._body(index, sealed, missing[0])
                if start >= 0 and stop <= len(out):
                    self._open_into(index, body, out[start:stop])
                    continue
                plain = self._open(index, body)
                self._cache.put(index, plain)
            out[max(start, 0) : stop] = plain[max(-start, 0) : len(out) - start]

    def try_all(self) -> Iterator[bytes | VaultDamagedError]:
        """The plaintext of each chunk in order, or why it has none; past the cache."""
        for start in range(0, self.count, _RUN):
            stop = min(start + _RUN, self.count)
            sealed = self._sealed(start, stop - 1)
            for index in range(start, stop):
                try:
                    yield self._open(index, self._body(index, sealed, start))
                except VaultDamagedError as error:
                    yield error

    def _sealed(self, first: int, last: int) -> memoryview:
        """The ciphertext of chunks *first* to *last*, with one read."""
        start = _file_start(first)
        return memoryview(self._bytes(start, min(_file_start(last + 1), self._length) - start))

    def _body(self, index: int, sealed: memoryview, first: int) -> memoryview:
        """Chunk *index* out of *sealed*, which begins with chunk *first*."""
        start = _file_start(index) - _file_start(first)
        return sealed[start : start + self._plain_length(index) + _TAG_BYTES]

    def _bytes(self, start: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, start)
        if len(data) < length:
            end = start + len(data)
            what = f"expected {length - len(data)} more bytes: the file was cut while it was open"
            raise VaultDamagedError(self.path, chunk_of(end), end, what)
        return data

    def _open(self, index: int, body: memoryview) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(index), body, None)
        except InvalidTag:
            raise self._damaged(index, body) from None

    def _open_into(self, index: int, body: memoryview, out: memoryview) -> None:
        try:
            self._cipher.decrypt_into(self._nonce(index), body, None, out)
        except InvalidTag:
            out[:] = bytes(len(out))  # the library leaves what it decrypted, though the tag did not fit
            raise self._damaged(index, body) from None

    def _nonce(self, index: int) -> bytes:
        return _nonce(self._prefix, index, last=index == self.count - 1)

    def _damaged(self, index: int, body: memoryview) -> VaultDamagedError:
        what = "does not open: damaged"
        if index == self.count - 1:
            what = "the last chunk does not open: damaged, or another key"
            try:
                self._cipher.decrypt(_nonce(self._prefix, index, last=False), body, None)
            except InvalidTag:
                return VaultDamagedError(self.path, index, _file_start(index), what)
            what = "the file was cut here: this was not its last chunk"
        return VaultDamagedError(self.path, index, _file_start(index), what)
