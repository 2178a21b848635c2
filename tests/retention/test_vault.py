"""Vault files: Tink's layout to the byte, any part readable alone, and nothing altered ever read."""

import gc
import hashlib
import hmac
import io
import json
import os
import random
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from retention import vault
from retention.errors import KeyMaterialError, VaultDamagedError
from retention.vault import VaultFile, VaultView, chunk_of, damaged_chunks, encrypt, encrypted_size
from tests.support.disk import flip, flipped, put

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vault-1.json").read_text())

KEY = bytes(range(32))
ABOUT = b"segment 7 of flow"
FIRST = 65_480
"""Plaintext of chunk 0."""
NEXT = 65_520
"""Plaintext of every other chunk."""
CHUNK = 65_536

SIZES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + NEXT - 1, FIRST + NEXT, FIRST + NEXT + 1, 20 * NEXT]
PLAIN = random.Random(7).randbytes(4 * NEXT)
"""Five chunks; the last has 40 bytes of plaintext."""
LAST = 4


def sealed(plain: bytes = PLAIN, key: bytes = KEY, about: bytes = ABOUT) -> bytes:
    """A whole encrypted file."""
    return b"".join(encrypt(key, about, plain))


def held() -> list[str]:
    """What this process has open, without what earlier tests left to the collector."""
    gc.collect()
    return [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A vault file of five chunks."""
    made = tmp_path / "rows.vault"
    made.write_bytes(sealed())
    return made


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> VaultFile:
    """The same, open for the whole module."""
    made = tmp_path_factory.mktemp("vault") / "rows.vault"
    made.write_bytes(sealed())
    return VaultFile(made, KEY, ABOUT)


@pytest.fixture
def preads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (offset, length) of every read from the disk."""
    seen: list[tuple[int, int]] = []
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        seen.append((offset, length))
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    return seen


# -- The layout ------------------------------------------------------------------------------------------


def hkdf(name: str, key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, from its text."""
    secret = hmac.digest(salt, key, name)
    made, block = b"", b""
    for number in range(1, -(-length // len(secret)) + 1):
        block = hmac.digest(secret, block + info + bytes([number]), name)
        made += block
    return made[:length]


def read_like_tink(
    file: bytes, key: bytes, associated: bytes, *, name: str = "sha256", size: int = CHUNK, derived: int = 32
) -> bytes:
    """The plaintext, written straight from Tink's description; shares nothing with the module."""
    assert file[0] == 1 + derived + 7
    salt, prefix = file[1 : 1 + derived], file[1 + derived : 8 + derived]
    cipher = AESGCM(hkdf(name, key, salt, associated, derived))
    segments = [file[file[0] : size]] + [file[at : at + size] for at in range(size, len(file), size)]
    plain = b""
    for number, segment in enumerate(segments):
        flag = b"\x01" if number == len(segments) - 1 else b"\x00"
        plain += cipher.decrypt(prefix + number.to_bytes(4, "big") + flag, segment, None)
    return plain


@pytest.mark.parametrize("case", VECTORS["tink"], ids=lambda case: f"{case['hash']}-{case['segment_bytes']}")
def test_the_reference_agrees_with_tink(case: dict[str, Any]) -> None:
    """The reader that the module is compared with opens what Tink publishes."""
    plain = read_like_tink(
        bytes.fromhex(case["file"]),
        bytes.fromhex(case["key"]),
        bytes.fromhex(case["associated"]),
        name=case["hash"],
        size=case["segment_bytes"],
        derived=case["derived_key_bytes"],
    )

    assert plain == case["plain"].encode()


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_is_tinks(size: int) -> None:
    """At every border the file has the promised size and header, and the reference reads it."""
    plain = random.Random(size).randbytes(size)

    pieces = list(encrypt(KEY, ABOUT, plain))

    file = b"".join(pieces)
    assert len(file) == encrypted_size(size)
    assert (len(pieces[0]), file[0]) == (40, 40)
    assert read_like_tink(file, KEY, ABOUT) == plain


def vector_plain(size: int) -> bytes:
    """Byte i is i*i mod 251."""
    return (bytes(i * i % 251 for i in range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: str(case["plain_bytes"]))
def test_the_vectors_are_frozen(case: dict[str, Any]) -> None:
    """What is written today is what was written for the vectors, and the reference agrees."""
    key, associated = bytes.fromhex(VECTORS["key"]), bytes.fromhex(VECTORS["associated"])
    plain = vector_plain(case["plain_bytes"])

    file = b"".join(vault.chunks._encrypt(key, associated, plain, bytes.fromhex(VECTORS["header"])[1:]))

    assert len(file) == case["encrypted_bytes"]
    assert hashlib.sha256(file).hexdigest() == case["sha256"]
    assert file.hex() == case.get("hex", file.hex())
    assert read_like_tink(file, key, associated) == plain


def test_no_two_files_are_alike() -> None:
    """Salt and nonce prefix are new for every file, also of the same plaintext."""
    first, second = sealed(b"same"), sealed(b"same")

    assert first[1:33] != second[1:33]
    assert first[33:40] != second[33:40]
    assert first[40:] != second[40:]


@pytest.mark.parametrize("wrap", [bytearray, memoryview, pa.py_buffer], ids=["bytearray", "view", "arrow"])
def test_any_buffer_is_encrypted(wrap: Callable[[bytes], Any]) -> None:
    """Plaintext is taken from any contiguous buffer, without a copy of the caller's."""
    file = b"".join(encrypt(KEY, ABOUT, wrap(PLAIN)))

    assert read_like_tink(file, KEY, ABOUT) == PLAIN


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(path: Path, length: int) -> None:
    """At the call, not at the first piece; the message says what was found, not the key."""
    with pytest.raises(KeyMaterialError, match=f"expected 32 bytes, found {length}"):
        encrypt(b"k" * length, ABOUT, b"")
    with pytest.raises(KeyMaterialError, match=f"expected 32 bytes, found {length}"):
        VaultFile(path, b"k" * length, ABOUT)


def test_sizes_are_known_beforehand() -> None:
    """Header, plaintext and one tag for each chunk, up to 2^32 chunks and not one byte more."""
    most = (1 << 32) * NEXT - 40

    assert [encrypted_size(size) for size in (0, 1, FIRST, FIRST + 1)] == [56, 57, CHUNK, CHUNK + 17]
    assert encrypted_size(FIRST + NEXT) == 2 * CHUNK
    assert encrypted_size(most) == 1 << 48
    for wrong in (-1, most + 1):
        with pytest.raises(ValueError, match=str(wrong)):
            encrypted_size(wrong)


def test_the_counter_never_wraps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More chunks than the counter has numbers are neither written nor read."""
    monkeypatch.setattr(vault.chunks, "_MAX_CHUNKS", 4)
    monkeypatch.setattr(vault.chunks, "_MAX_PLAIN", 4 * NEXT - 40)

    with pytest.raises(ValueError, match="expected 0 to"):
        encrypt(KEY, ABOUT, PLAIN)
    with pytest.raises(VaultDamagedError, match="chunk 4 at byte 262144"):
        VaultFile(path, KEY, ABOUT)


def test_chunks_are_found_by_offset() -> None:
    """A byte of the file belongs to one chunk, the header to chunk 0."""
    assert [chunk_of(offset) for offset in (0, 40, CHUNK - 1, CHUNK, 3 * CHUNK + 5)] == [0, 0, 0, 1, 3]


# -- Reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read(tmp_path: Path, size: int) -> None:
    """All ways of reading give the plaintext, around every border."""
    plain = random.Random(size).randbytes(size)
    put(tmp_path / "v", sealed(plain))

    with VaultFile(tmp_path / "v", KEY, ABOUT) as file:
        assert file.size == size == file.seek(0, os.SEEK_END)
        assert file.seek(0) == 0
        assert file.read() == file.read_at(0, size + 1) == b"".join(file.verify_all()) == plain
        assert file.read() == file.read(1) == file.read_at(size, 1) == file.read_at(size + 9, 1) == b""
        for border in (0, FIRST, FIRST + NEXT, size):
            for start in range(max(border - 2, 0), border + 3):
                assert file.read_at(start, 3) == plain[start : start + 3]
        too_long = bytearray(b"\xee" * (size + 5))
        file.seek(0)
        assert file.readinto(too_long) == file.tell() == size
        assert file.readinto(too_long) == 0
        assert too_long == plain + b"\xee" * 5
        file.seek(0)
        assert io.BufferedReader(file).read() == plain
    assert damaged_chunks(tmp_path / "v", KEY, ABOUT) == []


@given(
    start=st.integers(0, len(PLAIN) + 100),
    length=st.integers(0, len(PLAIN) + 100) | st.integers(0, 300),
    base=st.integers(0, len(PLAIN)),
)
def test_any_part_equals_the_slice(opened: VaultFile, start: int, length: int, base: int) -> None:
    """``read_at``, ``read``, ``readinto`` and windows all give the bytes of the plaintext's slice."""
    expected = PLAIN[start : start + length]
    buffer = bytearray(b"\xee" * length)
    window = opened.window(base, len(PLAIN) - base)

    assert opened.read_at(start, length) == expected
    opened.seek(start)
    assert opened.read(length) == expected
    assert opened.tell() == start + len(expected)
    opened.seek(start)
    assert opened.readinto(buffer) == len(expected)
    assert buffer == expected + b"\xee" * (length - len(expected))
    assert window.read_at(start, length) == PLAIN[base:][start : start + length]


def test_a_window_is_a_file_of_its_own(path: Path) -> None:
    """It has its own size, position and end; windows nest; closing one leaves the whole open."""
    with VaultFile(path, KEY, ABOUT) as whole:
        whole.seek(5)
        window = whole.window(FIRST - 10, 100)
        inner = window.window(5, 10)

        assert (window.size, inner.size, whole.tell()) == (100, 10, 5)
        assert window.read() == PLAIN[FIRST - 10 : FIRST + 90]
        assert inner.read() == PLAIN[FIRST - 5 : FIRST + 5]
        assert window.seek(-3, os.SEEK_END) == 97
        assert window.read(10) == PLAIN[FIRST + 87 : FIRST + 90]
        assert whole.window(len(PLAIN), 0).read() == b""
        window.close()
        assert whole.read(1) == PLAIN[5:6]
        with pytest.raises(ValueError, match="closed"):
            window.read_at(0, 1)
    with pytest.raises(ValueError, match="closed"):
        inner.read_at(0, 1)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, len(PLAIN) + 1), (len(PLAIN) + 1, 0)])
def test_a_window_lies_in_its_file(opened: VaultFile, offset: int, length: int) -> None:
    """Anything else is refused, not clipped."""
    with pytest.raises(ValueError, match="expected a window"):
        opened.window(offset, length)


def test_positions_are_checked(opened: VaultFile) -> None:
    """Negative offsets and lengths and unknown bases are refused, and the position stays."""
    opened.seek(3)

    for call in (
        lambda: opened.seek(-1),
        lambda: opened.seek(-9, os.SEEK_CUR),
        lambda: opened.seek(0, 7),
        lambda: opened.read_at(-1, 1),
        lambda: opened.read_at(0, -1),
    ):
        with pytest.raises(ValueError, match=r"expected|cannot seek"):
            call()
    assert opened.tell() == 3
    assert (opened.readable(), opened.seekable(), opened.writable()) == (True, True, False)
    with pytest.raises(io.UnsupportedOperation):
        opened.fileno()


def test_only_what_is_touched_is_read(path: Path, preads: list[tuple[int, int]]) -> None:
    """Opening reads the header and the last chunk; a small read its chunk, once; a big one all in one go."""
    file = VaultFile(path, KEY, ABOUT)
    assert preads == [(0, 40), (4 * CHUNK, 40 + 16)]

    preads.clear()
    file.read_at(FIRST + 5, 10)
    file.read_at(FIRST + NEXT - 10, 10)
    assert preads == [(CHUNK, CHUNK)]

    preads.clear()
    assert file.read_at(0, len(PLAIN)) == PLAIN
    assert preads == [(40, 4 * CHUNK - 40)]  # to the last chunk that is not kept

    preads.clear()
    file.read_at(4 * NEXT - 40, 40)
    assert preads == []
    file.close()


def test_few_chunks_are_kept(tmp_path: Path) -> None:
    """Reading a large file in small pieces keeps 16 chunks, the ones used last."""
    put(tmp_path / "v", sealed(bytes(40 * NEXT)))

    with VaultFile(tmp_path / "v", KEY, ABOUT) as file:
        for start in range(0, 40 * NEXT, 9_999):
            file.read_at(start, 100)

        assert file._chunks is not None
        kept = list(file._chunks._cache._kept)
        assert kept == sorted(kept)
        assert len(kept) == 16
        assert kept[-1] >= 39


def test_what_is_used_stays(tmp_path: Path, preads: list[tuple[int, int]]) -> None:
    """A chunk that was just read again outlives those that were not."""
    put(tmp_path / "v", sealed(bytes(40 * NEXT)))

    with VaultFile(tmp_path / "v", KEY, ABOUT) as file:
        for chunk in (*range(15), 0, 15, 16):  # the last chunk of the file is kept since opening
            file.read_at(chunk * NEXT, 1)
        preads.clear()
        file.read_at(0, 1)
        file.read_at(NEXT, 1)

    assert preads == [(CHUNK, CHUNK)]


def test_closed_is_closed(path: Path) -> None:
    """Every use of a closed file is refused, and its descriptor is given back."""
    before = len(held())
    file = VaultFile(path, KEY, ABOUT)
    checked = file.verify_all()
    file.close()
    file.close()

    for call in (
        file.read,
        file.tell,
        file.readall,
        file.readable,
        lambda: file.seek(0),
        lambda: next(checked),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert len(held()) == before


def test_closing_waits_for_readers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is under way when the file is closed ends well: its descriptor is not another file's."""
    file = VaultFile(path, KEY, ABOUT)
    real = os.pread

    def close_first(descriptor: int, length: int, offset: int) -> bytes:
        file.close()
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", close_first)
    before = len(held())

    assert file.read_at(10, 100) == PLAIN[10:110]
    assert file.closed
    assert len(held()) == before - 1


def test_a_descriptor_stays_the_callers(path: Path) -> None:
    """A file can be opened by descriptor, also without a name; position and descriptor stay as they were."""
    with path.open("rb") as own:
        own.seek(11)
        path.unlink()
        with VaultFile(path, KEY, ABOUT, descriptor=own.fileno()) as file:
            assert file.read() == PLAIN

        assert own.tell() == 11
        assert own.read(1)


# -- Damage ----------------------------------------------------------------------------------------------


def chunk_bytes(file: bytes) -> list[bytes]:
    """The file cut into 65,536 bytes; the first with the header."""
    return [file[start : start + CHUNK] for start in range(0, len(file), CHUNK)]


def everything(path: Path, key: bytes = KEY, about: bytes = ABOUT) -> bytes:
    """Open, read in one go, and verify."""
    with VaultFile(path, key, about) as file:
        plain = file.read()
        assert b"".join(file.verify_all()) == plain
        return plain


@pytest.mark.parametrize(
    ("offset", "chunk", "start"),
    [
        pytest.param(0, 0, 0, id="header length"),
        pytest.param(1, LAST, LAST * CHUNK, id="salt, first"),
        pytest.param(32, LAST, LAST * CHUNK, id="salt, last"),
        pytest.param(33, LAST, LAST * CHUNK, id="prefix, first"),
        pytest.param(39, LAST, LAST * CHUNK, id="prefix, last"),
        pytest.param(40, 0, 40, id="first chunk, first byte"),
        pytest.param(CHUNK - 16, 0, 40, id="first chunk, tag"),
        pytest.param(CHUNK - 1, 0, 40, id="first chunk, last byte"),
        pytest.param(2 * CHUNK, 2, 2 * CHUNK, id="middle chunk, first byte"),
        pytest.param(2 * CHUNK + 999, 2, 2 * CHUNK, id="middle chunk, inside"),
        pytest.param(3 * CHUNK - 1, 2, 2 * CHUNK, id="middle chunk, tag"),
        pytest.param(LAST * CHUNK, LAST, LAST * CHUNK, id="last chunk, body"),
        pytest.param(-1, LAST, LAST * CHUNK, id="last chunk, tag"),
    ],
)
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_a_changed_bit_is_named(tmp_path: Path, offset: int, chunk: int, start: int, mask: int) -> None:
    """One bit anywhere is refused with path, chunk and byte, and fails integrity; undone, all is well."""
    file = sealed()
    put(tmp_path / "v", flipped(file, offset, mask))

    with pytest.raises(VaultDamagedError, match=f"v, chunk {chunk} at byte {start}: ") as refused:
        everything(tmp_path / "v")

    assert (refused.value.path, refused.value.chunk, refused.value.offset) == (tmp_path / "v", chunk, start)
    assert refused.value.exit_code == 3
    put(tmp_path / "v", file)
    assert everything(tmp_path / "v") == PLAIN


CUTS = sorted({*range(0, 5 * CHUNK, CHUNK // 2), 1, 39, 40, 55, 56, 57}) + [
    border + by for border in range(CHUNK, 5 * CHUNK, CHUNK) for by in (-17, -16, -1, 1, 15, 16, 17)
]


@pytest.mark.parametrize("length", [cut for cut in CUTS if cut < 4 * CHUNK + 56])
def test_a_cut_file_is_refused_at_opening(tmp_path: Path, length: int) -> None:
    """Cut at a chunk's border or inside, it does not open; its new last chunk is named."""
    put(tmp_path / "v", sealed()[:length])

    with pytest.raises(VaultDamagedError) as refused:
        VaultFile(tmp_path / "v", KEY, ABOUT)

    assert refused.value.chunk == max(length - 1, 0) // CHUNK


def test_a_cut_between_chunks_is_told_from_damage(tmp_path: Path) -> None:
    """If a chunk was not written as the last one, the message says that the file was cut there."""
    put(tmp_path / "v", sealed()[: 2 * CHUNK])

    with pytest.raises(VaultDamagedError, match="chunk 1 at byte 65536: the file was cut here"):
        VaultFile(tmp_path / "v", KEY, ABOUT)


def test_an_empty_last_chunk_is_refused(tmp_path: Path) -> None:
    """Each plaintext has one division into chunks: a tag alone behind full chunks is not of it."""
    head = b"\x28" + bytes(39)
    cipher = AESGCM(hkdf("sha256", KEY, bytes(32), ABOUT, 32))
    full = cipher.encrypt(bytes(12), bytes(FIRST), None)
    put(tmp_path / "v", head + full + cipher.encrypt(bytes(10) + b"\x01\x01", b"", None))

    with pytest.raises(VaultDamagedError, match="chunk 1 at byte 65536: no vault file has 65552 bytes"):
        VaultFile(tmp_path / "v", KEY, ABOUT)


@pytest.mark.parametrize("more", [1, 15, 16, 17, CHUNK - 57, CHUNK - 56, CHUNK - 55, CHUNK, 2 * CHUNK])
@pytest.mark.parametrize("size", [0, FIRST, len(PLAIN)])
def test_an_extended_file_is_refused_at_opening(tmp_path: Path, more: int, size: int) -> None:
    """Whatever is appended: zeros, or the file's own chunks."""
    file = sealed(PLAIN[:size])

    for tail in (bytes(more), (file * (more // len(file) + 1))[-more:]):
        put(tmp_path / "v", file + tail)
        with pytest.raises(VaultDamagedError):
            VaultFile(tmp_path / "v", KEY, ABOUT)


def test_exchanged_chunks_are_refused(tmp_path: Path) -> None:
    """A chunk opens only in its place: two that changed places are both damaged."""
    parts = chunk_bytes(sealed())
    parts[1], parts[3] = parts[3], parts[1]
    put(tmp_path / "v", b"".join(parts))

    with pytest.raises(VaultDamagedError, match="chunk 1 at byte 65536"):
        everything(tmp_path / "v")

    assert [error.chunk for error in damaged_chunks(tmp_path / "v", KEY, ABOUT)] == [1, 3]


@pytest.mark.parametrize("chunk", [1, LAST])
def test_a_chunk_of_another_file_is_refused(tmp_path: Path, chunk: int) -> None:
    """Also one with the same key, associated data, plaintext and place: each file has its own key."""
    parts, others = chunk_bytes(sealed()), chunk_bytes(sealed())
    parts[chunk] = others[chunk]
    put(tmp_path / "v", b"".join(parts))

    with pytest.raises(VaultDamagedError, match=f"chunk {chunk} at byte"):
        everything(tmp_path / "v")


@pytest.mark.parametrize(
    ("key", "about"), [(bytes(32), ABOUT), (KEY, b""), (KEY, ABOUT + b"0")], ids=["key", "none", "longer"]
)
def test_another_key_or_purpose_is_refused(path: Path, key: bytes, about: bytes) -> None:
    """At opening, saying that damage and another key look alike; every chunk is as closed."""
    with pytest.raises(VaultDamagedError, match="the last chunk does not open: damaged, or another key"):
        VaultFile(path, key, about)

    assert [error.chunk for error in damaged_chunks(path, key, about)] == [0, 1, 2, 3, 4]


def test_all_damage_is_listed(path: Path) -> None:
    """Every damaged chunk is listed, the last too; verifying stops at the first; the rest is readable."""
    flip(path, CHUNK + 7)
    flip(path, 3 * CHUNK + 7)
    with VaultFile(path, KEY, ABOUT) as file:
        verified = file.verify_all()
        before = next(verified)
        with pytest.raises(
            VaultDamagedError, match=r"rows\.vault, chunk 1 at byte 65536: does not open: damaged$"
        ):
            next(verified)
        assert before == PLAIN[:FIRST]
        assert file.read_at(FIRST + NEXT, NEXT) == PLAIN[FIRST + NEXT :][:NEXT]
    flip(path, 4 * CHUNK)

    assert [error.chunk for error in damaged_chunks(path, KEY, ABOUT)] == [1, 3, 4]


def test_nothing_unproved_is_handed_out(path: Path) -> None:
    """If a chunk fails, the caller's buffer holds nothing of it, and the position stays."""
    flip(path, 2 * CHUNK - 1)
    buffer = bytearray(b"\xee" * 3 * NEXT)
    with VaultFile(path, KEY, ABOUT) as file:
        with pytest.raises(VaultDamagedError):
            file.readinto(buffer)

        assert buffer[FIRST : FIRST + NEXT] == bytes(NEXT)
        assert file.tell() == 0


def test_a_file_cut_while_open_is_damaged(path: Path) -> None:
    """What was there at opening and is gone is named with the byte where it ends."""
    with VaultFile(path, KEY, ABOUT) as file:
        os.truncate(path, 2 * CHUNK + 100)

        with pytest.raises(VaultDamagedError, match="chunk 2 at byte 131172: expected 65436 more bytes"):
            file.read_at(2 * CHUNK, 10)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory and a pipe are refused without waiting; a missing file is the disk's own error."""
    os.mkfifo(tmp_path / "pipe")

    for odd in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(VaultDamagedError, match="not a regular file"):
            VaultFile(odd, KEY, ABOUT)
    with pytest.raises(FileNotFoundError):
        VaultFile(tmp_path / "missing", KEY, ABOUT)


def test_a_refused_file_is_let_go(path: Path) -> None:
    """A refusal leaves no descriptor open, wherever in opening it happens."""
    before = len(held())

    with pytest.raises(VaultDamagedError) as last:
        VaultFile(path, bytes(32), ABOUT)
    flip(path, 0)
    with pytest.raises(VaultDamagedError) as first:
        VaultFile(path, KEY, ABOUT)

    assert (last.value.chunk, first.value.chunk) == (LAST, 0)
    assert len(held()) == before


# -- Threads and Arrow -----------------------------------------------------------------------------------


def in_threads(work: Callable[[int], object], threads: int = 8) -> list[object]:
    """What *work* gives in so many threads at once, begun together."""
    gate = threading.Barrier(threads)

    def begin(number: int) -> object:
        gate.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def test_threads_do_not_disturb_each_other(path: Path) -> None:
    """Each thread seeks and reads with a position of its own, through one file and one small cache."""
    with VaultFile(path, KEY, ABOUT) as file:

        def read_much(number: int) -> bool:
            chance = random.Random(number)
            for _ in range(150):
                start, length = chance.randrange(len(PLAIN)), chance.choice([1, 500, 70_000])
                file.seek(start)
                if file.read(length) != PLAIN[start : start + length]:
                    return False
                if file.tell() != min(start + length, len(PLAIN)):
                    return False
            return True

        assert in_threads(read_much) == [True] * 8
        assert file.tell() == 0


def test_a_thread_must_seek_first(path: Path) -> None:
    """A thread that did not open the file reads after a seek only; ``tell`` and ``read_at`` need none."""
    with VaultFile(path, KEY, ABOUT) as file, ThreadPoolExecutor(1) as pool:
        file.read(100)

        assert pool.submit(file.tell).result() == 0
        assert pool.submit(file.read_at, 5, 5).result() == PLAIN[5:10]
        for call in (file.read, file.readall, lambda: file.readinto(bytearray(4))):
            with pytest.raises(io.UnsupportedOperation, match="must seek before it reads"):
                pool.submit(call).result()
        assert pool.submit(file.seek, 7).result() == 7
        assert pool.submit(file.read, 2).result() == PLAIN[7:9]
        assert file.tell() == 100


MARK = "in clear: 1A-2B-3C-4D-5E-6F"
TABLE = pa.table(
    {
        "number": pa.array(range(60_000), pa.int64()),
        "noise": pa.array(random.Random(1).choices(range(1 << 40), k=60_000), pa.int64()),
        "text": pa.array([f"{MARK} {number % 977}" for number in range(60_000)]),
    }
)


@pytest.fixture
def table_path(tmp_path: Path) -> Path:
    """A vault file: 1,000 bytes, a Parquet file of six row groups, 70,000 bytes."""
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=10_000, compression="none", use_dictionary=False)
    made = tmp_path / "table.vault"
    made.write_bytes(sealed(b"\x01" * 1_000 + sink.getvalue() + b"\x02" * 70_000))
    return made


def parquet(file: VaultFile) -> VaultView:
    """The window of the Parquet file."""
    return file.window(1_000, file.size - 71_000)


@pytest.mark.parametrize("wrapped", [False, True], ids=["as a file", "as a PythonFile"])
def test_arrow_reads_parquet(table_path: Path, wrapped: bool) -> None:
    """Arrow reads a window with its own threads, ahead or not, and gets the table that was written."""
    with VaultFile(table_path, KEY, ABOUT) as file:
        for ahead in (False, True):
            window = parquet(file)
            source = pa.PythonFile(window, mode="r") if wrapped else window
            read = pq.ParquetFile(source, pre_buffer=ahead).read(use_threads=True)

            assert read.equals(TABLE)


def test_parquet_is_read_by_many_threads(table_path: Path) -> None:
    """Eight threads, each with its own Parquet reader over one vault file or one window, get every row."""
    with VaultFile(table_path, KEY, ABOUT) as file:
        shared = parquet(file)

        def read_all(number: int) -> bool:
            source = shared if number % 2 else parquet(file)
            reader = pq.ParquetFile(pa.PythonFile(source, mode="r"))
            groups = [reader.read_row_group((number + group) % 6) for group in range(6)]
            return all(
                table.equals(TABLE.slice((number + group) % 6 * 10_000, 10_000))
                for group, table in enumerate(groups)
            )

        assert in_threads(read_all) == [True] * 8


def test_arrow_names_damage(table_path: Path) -> None:
    """Damage under a Parquet reader comes out as our error, not as a broken Parquet file."""
    flip(table_path, CHUNK + 5)

    with VaultFile(table_path, KEY, ABOUT) as file, pytest.raises(VaultDamagedError, match="chunk 1 at byte"):
        pq.ParquetFile(pa.PythonFile(parquet(file), mode="r")).read()


def test_nothing_is_written_in_clear(
    tmp_path: Path, table_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading makes no file, in the store or the temporary directory; the stored one shows no plaintext."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = sorted(tmp_path.rglob("*"))

    with VaultFile(table_path, KEY, ABOUT) as file:
        pq.ParquetFile(pa.PythonFile(parquet(file), mode="r")).read()
        plain = b"".join(file.verify_all())
        open_now = held()

    assert MARK.encode() in plain
    assert MARK.encode() not in table_path.read_bytes()
    assert sorted(tmp_path.rglob("*")) == before
    assert [name for name in open_now if str(tmp_path) in name] == [str(table_path)]
