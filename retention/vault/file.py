"""Encrypted files, and parts of them, as files that are read at random. Rules in ``retention.vault``."""

import io
import os
import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import VaultDamagedError
from retention.vault.chunks import Chunks

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Position(threading.local):
    """Where a thread's next read begins; ``None`` until it has sought."""

    offset: int | None = None


class VaultView(io.RawIOBase):
    """Plaintext as a read-only binary file, for any number of threads at once.

    ``read_at`` needs no position. ``seek``, ``tell`` and the reads keep one *per thread*: that of the opening
    thread begins at 0, any other must seek before it reads. (Arrow's Parquet reader does. A C++ thread that
    comes back has lost its position: without the refusal it would read from the beginning, for ever.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._position = _Position()
        self._position.offset = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of plaintext."""

    @abstractmethod
    def _fill(self, offset: int, out: memoryview) -> None:
        """Put the plaintext from *offset* on into all of *out*, which is not empty; it lies in the view."""

    def read_at(self, offset: int, length: int) -> bytes:
        """*length* bytes from *offset* on; fewer where the plaintext ends, none behind it.

        Raises:
            VaultDamagedError: a chunk that is needed does not open.
            ValueError: the file is closed, or a number is negative.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"expected an offset and a length from 0, found {offset} and {length}")
        self._check_open()
        # A buffer that becomes bytes without a copy, as long as nobody else refers to it.
        out = io.BytesIO(bytes(max(min(length, self.size - offset), 0)))
        with out.getbuffer() as view:
            if view:
                self._fill(offset, view)
        return out.getvalue()

    def window(self, offset: int, length: int) -> "VaultWindow":
        """*length* bytes from *offset* on as a file of its own; closing it leaves this one open.

        Raises:
            ValueError: they do not lie in this file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"expected a window in {self.size} bytes, found {length} from {offset}")
        return VaultWindow(self, offset, length)

    def readable(self) -> bool:
        """Always."""
        self._check_open()
        return True

    seekable = readable

    def tell(self) -> int:
        """This thread's position; 0 until it has sought."""
        self._check_open()
        return self._position.offset or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move this thread's position, also beyond the end; the new one is returned.

        Raises:
            ValueError: it would be negative, or *whence* is unknown.
        """
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}
        if whence not in bases or bases[whence] + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._position.offset = bases[whence] + offset
        return self._position.offset

    def read(self, size: int | None = -1, /) -> bytes:
        """The next *size* bytes, or all that follow; fewer only at the end. Raises as ``read_at``."""
        start = self._start()
        rest = max(self.size - start, 0)
        data = self.read_at(start, rest if size is None or size < 0 else size)
        self._position.offset = start + len(data)
        return data

    def readall(self) -> bytes:
        """All bytes from this thread's position on."""
        return self.read()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill *buffer* from this thread's position on; how many bytes that were: fewer only at the end."""
        start = self._start()
        out = memoryview(buffer).cast("B")
        out = out[: max(min(len(out), self.size - start), 0)]
        if out:
            self._fill(start, out)
        self._position.offset = start + len(out)
        return len(out)

    def _start(self) -> int:
        self._check_open()
        if self._position.offset is None:
            raise io.UnsupportedOperation("a thread that did not open the file must seek before it reads")
        return self._position.offset

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class VaultFile(VaultView):
    """An encrypted file, read at random. Only the chunks that are touched are decrypted.

    Args:
        path: the file; names it in errors if *descriptor* is given.
        key: the 32 bytes it was encrypted with, or its ``FileKey``.
        associated: the associated data it was encrypted with.
        descriptor: already open for reading. It is duplicated; the caller closes his own.

    Raises:
        VaultDamagedError: cut, extended or damaged at its end, or another key or associated data.
        KeyMaterialError: *key* is not of 32 bytes.
        OSError: the file cannot be opened or read.
    """

    _chunks: Chunks | None = None

    def __init__(self, path: Path, key: bytes, associated: bytes, *, descriptor: int | None = None) -> None:
        super().__init__()
        chunks = Chunks(path, key, associated, descriptor)
        try:
            chunks.open_last()
        except BaseException:
            chunks.close()
            raise
        self._chunks = chunks
        self._size = chunks.size

    @property
    def size(self) -> int:
        """Bytes of plaintext."""
        return self._size

    def verify_all(self) -> Iterator[bytes]:
        """The whole plaintext again from the disk, chunk by chunk in order (at most 65,520 bytes each).

        Raises:
            VaultDamagedError: names the first chunk that does not open.
        """
        for found in self._opened().try_all():
            if isinstance(found, VaultDamagedError):
                raise found
            yield found

    def close(self) -> None:
        """Let go of the file and of what is decrypted; reads that are under way still end."""
        self._chunks = None
        super().close()

    def _fill(self, offset: int, out: memoryview) -> None:
        self._opened().fill(offset, out)

    def _opened(self) -> Chunks:
        chunks = self._chunks
        if chunks is None:
            raise ValueError("I/O operation on closed file")
        return chunks


class VaultWindow(VaultView):
    """A part of a vault file as a file of its own. It cannot be read when the whole is closed."""

    def __init__(self, whole: VaultView, offset: int, length: int) -> None:
        super().__init__()
        self._whole = whole
        self._offset = offset
        self._length = length

    @property
    def size(self) -> int:
        """Bytes of plaintext in the window."""
        return self._length

    def _fill(self, offset: int, out: memoryview) -> None:
        self._whole._fill(self._offset + offset, out)  # noqa: SLF001  (the same class, of another object)
