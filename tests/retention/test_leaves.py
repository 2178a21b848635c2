"""Tags, salts, bodies and the two-level tree: each against what its formula says, one row at a time."""

import hashlib
import hmac
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from retention import leaves
from tests.support.independent_proof import leaf, sha256, tree, u64

SECRET = bytes(range(32))
COUNTS = st.lists(
    st.one_of(st.integers(1, 6), st.sampled_from([31, 32, 33, 63, 64, 65]), st.integers(1, 200)),
    min_size=1,
    max_size=12,
)
LINES = ["{}", '{"message":"ก"}', "x" * 55, "x" * 200, "", '{"a":"b\\"c"}']


def naive(
    times: list[int], bodies: list[bytes], tags: list[bytes], counts: list[int]
) -> tuple[list[bytes], list[bytes], list[bytes], bytes]:
    """Leaves, blocks, subject leaves and root, by RFC 6962's recursion."""
    rows = [leaf(u64(time) + body) for time, body in zip(times, bodies, strict=True)]
    blocks, subjects = [], []
    start = 0
    for tag, count in zip(tags, counts, strict=True):
        own = rows[start : start + count]
        blocks += [tree(own[at : at + 32]) for at in range(0, count, 32)]
        subjects.append(leaf(tag + sha256(b"\x05" + u64(count) + tree(own))))
        start += count
    return rows, blocks, subjects, tree(subjects)


def listed(hashes: leaves.Hashes) -> list[bytes]:
    """The rows of an array, as bytes."""
    return [one.tobytes() for one in hashes]


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**32))
def test_the_tree_is_rfc_6962s(counts: list[int], seed: int) -> None:
    """Whatever the subjects' numbers of rows: each level is what the recursive definition gives."""
    rng, total = random.Random(seed), sum(counts)
    times = [rng.choice([0, 1, 2**53 + 1, 253_402_300_799_999_999]) for _ in range(total)]
    bodies, tags = ([rng.randbytes(32) for _ in range(many)] for many in (total, len(counts)))

    found = leaves.grow(np.array(times), leaves.as_hashes(bodies), leaves.as_hashes(tags), np.array(counts))

    rows, blocks, subjects, root = naive(times, bodies, tags, counts)
    assert listed(found.leaves) == rows
    assert listed(found.blocks) == blocks
    assert listed(found.subject_leaves) == subjects
    assert found.root == root


@settings(max_examples=40, deadline=None)
@given(counts=COUNTS)
def test_stored_blocks_give_every_subjects_root(counts: list[int]) -> None:
    """Roots over level 5 are those over the rows: what a prover has is enough."""
    nodes = [sha256(bytes([1]) + at.to_bytes(4, "big")) for at in range(sum(counts))]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    own = [nodes[start : start + count] for start, count in zip(starts, counts, strict=False)]
    blocks = [tree(rows[at : at + 32]) for rows in own for at in range(0, len(rows), 32)]

    sizes = leaves.blocks_in(np.array(counts))

    assert sizes.tolist() == [len(range(0, count, 32)) for count in counts]
    assert listed(leaves.roots_over(leaves.as_hashes(blocks), sizes)) == [tree(rows) for rows in own]
    assert listed(leaves.roots_over(leaves.as_hashes(nodes), np.array(counts))) == [
        tree(rows) for rows in own
    ]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, 32, 33, 100])
def test_the_root_of_a_list(size: int) -> None:
    """That of RFC 6962, the SHA-256 of nothing for no leaves."""
    hashes = [sha256(bytes([at])) for at in range(size)]

    assert leaves.root_of(leaves.as_hashes(hashes)) == tree(hashes)


def test_a_large_subject_costs_a_small_one_nothing() -> None:
    """A subject with nearly all rows beside many with one: the tree is the same as alone."""
    counts = [1, 20_000, *[1] * 300]
    times, bodies = np.arange(sum(counts)), np.arange(sum(counts), dtype=">u8")
    body = np.zeros((sum(counts), 32), np.uint8)
    body[:, :8] = bodies.view(np.uint8).reshape(-1, 8)
    tags = leaves.as_hashes([sha256(bytes([at % 256, at // 256])) for at in range(len(counts))])

    found = leaves.grow(times, body, tags, np.array(counts))

    alone = leaves.grow(times[1:20_001], body[1:20_001], tags[1:2], np.array([20_000]))
    assert found.subject_leaves[1].tobytes() == alone.root
    assert len(found.blocks) == 1 + 625 + 300


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=70), first=st.integers(0, 2**40))
def test_bodies_and_salts(lines: list[str], first: int) -> None:
    """Each body is of the row's own salt, one block of AES-256, and of the line without line feed."""
    key = hmac.digest(SECRET, b"\x03", "sha256")
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  one block is what is meant
    salts = [cipher.update((first + at).to_bytes(16, "big")) for at in range(len(lines))]
    expected = [sha256(b"\x04" + salt + line.encode()) for salt, line in zip(salts, lines, strict=True)]
    array = pa.array(["before\n", *(line + "\n" for line in lines), "behind\n"], pa.string())

    bodies = leaves.bodies(SECRET, array[1:-1], first)

    assert listed(leaves.salts(SECRET, len(lines), first)) == salts
    assert listed(bodies) == expected


def test_no_rows_have_no_bodies() -> None:
    """Of no lines there are no bodies and no salts."""
    assert leaves.bodies(SECRET, pa.array([], pa.string())).shape == (0, 32)
    assert leaves.salts(SECRET, 0).shape == (0, 16)


def test_tags_and_index_keys() -> None:
    """Both are the formulas of FORMAT.md 7.3 and 7.6."""
    file_id, beta, subject = bytes(32), bytes(64), b"user\0\1a"

    assert leaves.tag(file_id, beta) == hashlib.sha256(b"\x02" + file_id + beta).digest()
    index = hmac.digest(SECRET, b"\x06", "sha256")
    assert leaves.lookup_key(SECRET, subject) == hmac.digest(index, subject, "sha256")[:16]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_the_bytes_of_a_slice(kind: pa.DataType) -> None:
    """Bytes and offsets of a slice are those of its own values, whatever lies around them."""
    array = pa.array(["before", "a", "", "bc", "behind"], kind)[1:4]

    data, offsets = leaves.flat(array)

    pieces = [data[start:end].tobytes() for start, end in pairwise(offsets)]
    assert pieces == [b"a", b"", b"bc"]
    assert leaves.flat(array[:0])[1].tolist() == [0]
