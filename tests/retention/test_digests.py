"""SHA-256 of many messages: always hashlib's digests, whatever computed them."""

import functools
import hashlib
import importlib
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention import machine_code
from retention.digests import cache_directory, sha256_fixed, sha256_joined, sha256_many, sha256_ranges, ways
from retention.digests.ways import FEW, FORCE, LONG, SMALL, By, Bytes, Choice, Integers, Way, with_hashlib

WAYS: list[By] = ["kernel", "hashlib"]

both_ways = pytest.mark.parametrize("by", WAYS)


def noise(size: int, seed: int = 7) -> Bytes:
    """Random bytes, the same each time."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def offsets_of(lengths: list[int], first: int = 0) -> Integers:
    """Positions of messages of these lengths, one after the other."""
    return np.cumsum([first, *lengths], dtype=np.int64)


def expected(data: Bytes, starts: Integers, ends: Integers) -> list[str]:
    """What hashlib says, in hexadecimal."""
    ranges = zip(starts, ends, strict=True)
    return [hashlib.sha256(data[start:end].tobytes()).hexdigest() for start, end in ranges]


def hexadecimal(digests: Bytes) -> list[str]:
    """Rows as hashlib writes them."""
    assert digests.dtype == np.uint8
    assert digests.shape[1:] == (32,)
    return [row.tobytes().hex() for row in digests]


@both_ways
@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
    ids=["empty", "one block", "two blocks"],
)
def test_the_standard_s_examples(message: bytes, digest: str, by: By) -> None:
    """NIST's example messages have the digests that NIST gives."""
    data = np.frombuffer(message, np.uint8)

    assert hexadecimal(sha256_many(data, np.array([0, len(message)]), by=by)) == [digest]


@both_ways
def test_every_length(by: By) -> None:
    """Messages of 0 to 300 bytes: every place where the padding can start, in up to five blocks."""
    offsets = offsets_of(list(range(301)))
    data = noise(int(offsets[-1]))

    digests = sha256_many(data, offsets, by=by)

    assert hexadecimal(digests) == expected(data, offsets[:-1], offsets[1:])


@given(st.lists(st.integers(0, 400), max_size=70), st.integers(0, 9), st.integers(0, 2**32))
def test_any_lengths(lengths: list[int], first: int, seed: int) -> None:
    """Any number of messages of any lengths, starting anywhere: the kernel's digests are hashlib's."""
    offsets = offsets_of(lengths, first)
    data = noise(int(offsets[-1]) + 3, seed)

    digests = sha256_many(data, offsets, by="kernel")

    assert hexadecimal(digests) == expected(data, offsets[:-1], offsets[1:])


@both_ways
def test_very_different_lengths(by: By) -> None:
    """Long messages among short ones delay nothing and mix with nothing; the longest are hashlib's own."""
    chance = np.random.default_rng(3)
    lengths = np.where(
        chance.random(600) < 0.05, chance.integers(0, 3 * LONG, 600), chance.integers(0, 99, 600)
    )
    offsets = offsets_of([*lengths.tolist(), LONG, LONG + 1])
    data = noise(int(offsets[-1]))

    digests = sha256_many(data, offsets, by=by)

    assert hexadecimal(digests) == expected(data, offsets[:-1], offsets[1:])


@both_ways
@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33])
@pytest.mark.parametrize("length", [0, 41, 64])
def test_any_number_of_messages(count: int, length: int, by: By) -> None:
    """None, one, fewer than lanes, as many, more; empty ones too."""
    data = noise(count * length)
    offsets = offsets_of([length] * count)

    digests = sha256_many(data, offsets, by=by)

    assert digests.shape == (count, 32)
    assert hexadecimal(digests) == expected(data, offsets[:-1], offsets[1:])


@both_ways
def test_ranges_anywhere(by: By) -> None:
    """Ranges may overlap, leave gaps, be in any order, and be every second of a larger array."""
    data = noise(5000)
    data.flags.writeable = False
    chance = np.random.default_rng(5)
    ranges = np.sort(chance.integers(0, 5001, (200, 2)), axis=1)

    digests = sha256_ranges(data, ranges[:, 0], ranges[:, 1], by=by)

    assert hexadecimal(digests) == expected(data, ranges[:, 0], ranges[:, 1])


@both_ways
@pytest.mark.parametrize("width", [0, 1, 41, 64, 65, 200])
@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("form", ["whole", "columns", "every second", "backwards", "transposed", "repeated"])
def test_rows_of_one_width(count: int, width: int, form: str, by: By) -> None:
    """Each row's digest, however the rows lie in memory."""
    rows = {
        "whole": lambda: noise(count * width).reshape(count, width),
        "columns": lambda: noise(count * (width + 9)).reshape(count, width + 9)[:, 4 : 4 + width],
        "every second": lambda: noise(2 * count * width).reshape(2 * count, width)[::2],
        "backwards": lambda: noise(count * width).reshape(count, width)[::-1],
        "transposed": lambda: noise(count * width).reshape(width, count).T,
        "repeated": lambda: np.broadcast_to(noise(width), (count, width)),
    }[form]()

    digests = sha256_fixed(rows, by=by)

    assert hexadecimal(digests) == [hashlib.sha256(row.tobytes()).hexdigest() for row in rows]


@both_ways
@pytest.mark.parametrize(
    ("offsets", "says"),
    [
        ([], "found none"),
        ([-1, 5], "message 0, bytes -1 to 5, does not lie in 100 bytes"),
        ([0, 9, 8], "message 1, bytes 9 to 8,"),
        ([0, 100, 101], "message 1, bytes 100 to 101,"),
        ([2**62, 2**63 - 1], "does not lie in 100 bytes"),
    ],
    ids=["none", "negative", "decreasing", "past the end", "huge"],
)
def test_wrong_offsets_are_refused(offsets: list[int], says: str, by: By) -> None:
    """A message outside the data is named before anything is read."""
    with pytest.raises(ValueError, match=says):
        sha256_many(noise(100), np.array(offsets, np.int64), by=by)


def test_other_arrays_are_refused() -> None:
    """Nothing is converted in silence: types, dimensions and numbers of positions must be right."""
    data, at = noise(100), np.array([0, 5], np.int64)

    for wrong in (data.astype(np.int8), data.reshape(10, 10), data[::2]):
        with pytest.raises(ValueError, match="expected contiguous data, one-dimensional uint8, found"):
            sha256_many(wrong, at)  # type: ignore[arg-type]  # what a caller without types may give
    for positions in (at.astype(np.int32), at.astype(float), at.reshape(1, 2)):
        with pytest.raises(ValueError, match="expected positions as one-dimensional int64, found"):
            sha256_ranges(data, positions, positions)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected as many ends as starts, found 1 and 2"):
        sha256_ranges(data, at, at[:1])
    for rows in (data, data.reshape(10, 10).astype(np.int64)):
        with pytest.raises(ValueError, match="expected rows as two-dimensional uint8, found"):
            sha256_fixed(rows)  # type: ignore[arg-type]


def test_the_kernel_looks_itself() -> None:
    """Behind the checks in Python the kernel refuses ranges outside the data, and arrays of other sizes."""
    kernel = importlib.import_module("retention.digests.kernel")
    words, lanes = (
        np.zeros(kernel.SCRATCH_WORDS, np.uint32),
        np.zeros((kernel.LANE_ROWS, kernel.LANES), np.int64),
    )
    digests = np.zeros((3, 8), np.uint32)
    run = functools.partial(kernel.sha256, noise(100))
    good = np.array([0, 0, 0]), np.array([5, 5, 100])

    assert run(*good, words, lanes, digests) == -1
    for start, end in ((-1, 5), (6, 5), (0, 101), (2**62, 2**62)):
        assert run(np.array([0, start, 0]), np.array([5, end, 5]), words, lanes, digests) == 1
    assert run(*good, words[1:], lanes, digests) == -2
    assert run(*good, words, lanes[1:], digests) == -2
    assert run(*good, words, lanes, digests[1:]) == -2
    assert run(good[0], good[1][1:], words, lanes, digests) == -2
    with pytest.raises(IndexError, match="refused its arguments: 0"):
        ways.with_kernel(kernel, noise(10), np.array([0]), np.array([11]))


UNCOMPILED = """
import numpy as np
from retention.digests.ways import with_hashlib, with_kernel
from retention.digests import kernel

assert not hasattr(kernel.sha256, "signatures"), "compiled after all"
offsets = np.cumsum([0, 130, 0, 55, 56, 63, 64, *range(1, 12), 119, 120], dtype=np.int64)
data = np.arange(offsets[-1], dtype=np.uint64).astype(np.uint8)
with np.errstate(over="ignore"):
    found = with_kernel(kernel, data, offsets[:-1], offsets[1:])
assert (found == with_hashlib(data, offsets[:-1], offsets[1:])).all()
"""


def test_every_index_is_inside_its_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as plain Python, where NumPy checks each index, the kernel's source gives the same digests."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")

    done = subprocess.run([sys.executable, "-c", UNCOMPILED], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_threads_do_not_share() -> None:
    """Calls in parallel do not see each other's scratch space, and choose the way once."""
    offsets = offsets_of([700] * 400)
    inputs = [noise(int(offsets[-1]), seed) for seed in range(12)]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda data: sha256_many(data, offsets), inputs * 3))

    for data, digests in zip(inputs * 3, found, strict=True):
        assert (digests == with_hashlib(data, offsets[:-1], offsets[1:])).all()


def choice(*, wrong_from: int | None = None, fails: bool = False) -> tuple[Choice, list[str]]:
    """A choice over a simulated kernel: right, wrong from a length on, or failing; and its calls."""
    calls: list[str] = []

    def simulated(data: Bytes, starts: Integers, ends: Integers) -> Bytes:
        calls.append("hash")
        digests = with_hashlib(data, starts, ends)
        if wrong_from is not None:
            digests[ends - starts >= wrong_from, 31] ^= 1
        return digests

    def load() -> Way:
        calls.append("load")
        if fails:
            raise RuntimeError("no compiler here")
        return simulated

    return Choice(load), calls


@pytest.mark.parametrize("wrong_from", [0, 56, 10_007], ids=["all", "two blocks", "the longest"])
def test_a_wrong_kernel_is_never_used(wrong_from: int, caplog: pytest.LogCaptureFixture) -> None:
    """One wrong bit in the self-check: hashlib from then on, even when the kernel is forced; one error."""
    chosen, calls = choice(wrong_from=wrong_from)

    with caplog.at_level(logging.ERROR):
        found = [chosen.way(1000, 1 << 20), chosen.way(1000, 1 << 20, "kernel"), chosen.way(1000, 1 << 20)]

    assert found == [with_hashlib] * 3
    assert calls == ["load", "hash"]
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert "the SHA-256 kernel is not used: wrong for" in caplog.text


def test_a_kernel_that_does_not_load(caplog: pytest.LogCaptureFixture) -> None:
    """A compiler that does not work costs speed, not sealing: hashlib, and an error once."""
    chosen, calls = choice(fails=True)

    found = [chosen.way(1000, 1 << 20), chosen.way(1000, 1 << 20, "kernel")]

    assert found == [with_hashlib] * 2
    assert calls == ["load"]
    assert "cannot be loaded" in caplog.text
    assert "no compiler here" in caplog.text


@pytest.mark.parametrize("kernel_seconds", [0.5, 2.0])
def test_the_quicker_is_taken(kernel_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took less time over the sample is the way of the whole process, without another look."""
    chosen, calls = choice()
    simulated = chosen.kernel()
    monkeypatch.setattr(ways, "_seconds", lambda way: 1.0 if way is with_hashlib else kernel_seconds)

    first, second = chosen.way(1000, 1 << 20), chosen.way(1000, 1 << 20)

    assert first is second
    assert first is (simulated if kernel_seconds < 1 else with_hashlib)
    assert calls == ["load", "hash"]


def test_the_sample_is_timed() -> None:
    """Both ways run over the sample, and the choice is one of them."""
    chosen, calls = choice()

    way = chosen.way(1000, 1 << 20)

    assert way in {with_hashlib, chosen.kernel()}
    assert calls == ["load", *["hash"] * 4]


def test_little_work_loads_nothing() -> None:
    """Few messages, or few bytes, are hashlib's; after the choice only few messages are."""
    chosen, calls = choice()

    assert chosen.way(FEW - 1, 1 << 40) is with_hashlib
    assert chosen.way(1000, SMALL - 1) is with_hashlib
    assert calls == []

    once = chosen.way(1000, SMALL)

    assert chosen.way(1000, SMALL - 1) is once
    assert chosen.way(FEW - 1, SMALL - 1) is with_hashlib


def test_the_environment_forces_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """APPLOG_SHA256 names the way for every call; a name that is no way is refused."""
    chosen, calls = choice()

    monkeypatch.setenv(FORCE, "hashlib")
    assert chosen.way(1000, 1 << 20) is with_hashlib
    assert calls == []
    monkeypatch.setenv(FORCE, "kernel")
    assert chosen.way(1, 1) is chosen.kernel()
    monkeypatch.setenv(FORCE, "openssl")
    with pytest.raises(ValueError, match="are kernel and hashlib, not 'openssl'"):
        chosen.way(1, 1)


def test_numba_waits_until_it_is_needed() -> None:
    """Importing the package and hashing little does not load numba."""
    script = (
        "import sys, numpy as np; from retention.digests import sha256_fixed;"
        f"sha256_fixed(np.zeros(({SMALL // 41}, 41), np.uint8)); print('numba' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout == "False\n"


def test_the_cache_is_named_by_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any changed file of a package gives another directory; the same files give the same one."""
    monkeypatch.setenv("APPLOG_KERNEL_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text("ONE = 1")

    first, again = (
        machine_code.cache_directory(package, "name"),
        machine_code.cache_directory(package, "name"),
    )
    (package / "one.py").write_text("ONE = 2")
    changed = machine_code.cache_directory(package, "name")

    assert first == again != changed
    assert first.parent == tmp_path / "cache"
    assert re.fullmatch("name-[0-9a-f]{16}", first.name)
    assert cache_directory().name.startswith("digests-")


@pytest.mark.parametrize("given", ["", "/caches"])
def test_the_cache_without_a_store(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without APPLOG_KERNEL_CACHE machine code is in the user's cache."""
    monkeypatch.delenv("APPLOG_KERNEL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", given)

    wanted = Path(given) if given else Path.home() / ".cache"

    assert cache_directory().parent == wanted / "applog"


@both_ways
@pytest.mark.parametrize("count", [0, 1, 5, 40, 300])
def test_joined_messages_are_prefix_and_ranges(count: int, by: By, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is its prefix, then as many ranges as it takes, in their order, wherever they lie."""
    monkeypatch.setenv(FORCE, by)
    chance = np.random.default_rng(count)
    data = noise(5_000)
    rows = chance.integers(0, 4, count)
    starts = chance.integers(0, 4_000, int(rows.sum()))
    ends = starts + chance.integers(0, 900, len(starts))
    prefixes = chance.integers(0, 256, (count, 17)).astype(np.uint8)
    ranges = iter(zip(starts.tolist(), ends.tolist(), strict=True))
    messages = [
        row.tobytes() + b"".join(data[slice(*next(ranges))].tobytes() for _ in range(taken))
        for row, taken in zip(prefixes, rows.tolist(), strict=True)
    ]

    digests = sha256_joined(prefixes, data, starts, ends, rows)

    assert [digest.tobytes() for digest in digests] == [hashlib.sha256(one).digest() for one in messages]


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (4, 3), (0, 11)])
def test_joined_ranges_outside_the_data_are_refused(start: int, end: int) -> None:
    """No byte outside the data is read."""
    with pytest.raises(ValueError, match="ranges do not lie in 10 bytes"):
        sha256_joined(np.zeros((1, 2), np.uint8), noise(10), np.array([start]), np.array([end]))


def test_joined_messages_take_all_ranges() -> None:
    """Ranges that no message takes are a mistake of the caller."""
    with pytest.raises(ValueError, match="1 messages of 1 ranges, found 2"):
        sha256_joined(np.zeros((1, 2), np.uint8), noise(10), np.array([0, 1]), np.array([1, 2]))
