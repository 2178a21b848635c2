"""Rows become leaves: subject tags, salts, bodies and the two-level tree. Pure, and in columns.

Rules (FORMAT.md 7.3 to 7.6):
    1. ``t(x) = SHA-256(0x02 ‖ file_id ‖ β(x))``; ``salt_i`` is block i of AES-256-CTR under
       ``HMAC-SHA-256(S, 0x03)``; ``body_i = SHA-256(0x04 ‖ salt_i ‖ line_i)``.
    2. A subject's rows form an RFC 6962 tree over ``u64 µs ‖ body``; the segment's tree is over
       ``t ‖ SHA-256(0x05 ‖ u64 count ‖ root)``, tags strictly increasing.
    3. Level 5 of each subject's tree is kept, so that a check can name the 32 rows that changed.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from retention.digests import sha256_fixed, sha256_joined

HASH_BYTES = 32
SALT_BYTES = 16
LOOKUP_BYTES = 16
BLOCK_LEVEL = 5
BLOCK_ROWS = 1 << BLOCK_LEVEL
EMPTY_ROOT = hashlib.sha256().digest()

Hashes = npt.NDArray[np.uint8]
"""Shape (n, 32)."""


def tag(file_id: bytes, beta: bytes) -> bytes:
    """``t(x)`` of the subject with the VRF output *beta*."""
    return hashlib.sha256(b"\x02" + file_id + beta).digest()


def lookup_key(secret: bytes, subject: bytes) -> bytes:
    """What a subject is found by in the index of the segment with the secret S."""
    return hmac.digest(hmac.digest(secret, b"\x06", "sha256"), subject, "sha256")[:LOOKUP_BYTES]


def salts(secret: bytes, count: int, first: int = 0) -> npt.NDArray[np.uint8]:
    """Salts of the rows *first* to *first* + *count* − 1, shape (count, 16)."""
    key = hmac.digest(secret, b"\x03", "sha256")
    # The salt's secrecy and freshness rest on S, which is new for every segment: the counter may start at 0.
    cipher = Cipher(algorithms.AES(key), modes.CTR(first.to_bytes(16, "big"))).encryptor()
    stream = cipher.update(bytes(SALT_BYTES * count))
    return np.frombuffer(stream, np.uint8).reshape(count, SALT_BYTES)


def bodies(secret: bytes, lines: pa.Array, first: int = 0) -> Hashes:
    """``body_i`` of *lines* (strings, each with its line feed), the first of which is row *first*."""
    count = len(lines)
    prefixed = np.empty((count, 1 + SALT_BYTES), np.uint8)
    prefixed[:, 0] = 0x04
    prefixed[:, 1:] = salts(secret, count, first)
    data, offsets = flat(lines)
    return sha256_joined(prefixed, data, offsets[:-1], offsets[1:] - 1)  # without the line feed


def flat(values: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of a (large) binary or string array without NULLs, and its n + 1 offsets."""
    wide = pa.types.is_large_binary(values.type) or pa.types.is_large_string(values.type)
    _, offsets, data = values.buffers()
    if not len(values) or data is None:
        return np.empty(0, np.uint8), np.zeros(len(values) + 1, np.int64)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)
    ends = ends[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8), ends.astype(np.int64)


class SegmentTree(NamedTuple):
    """Both levels of a segment's tree."""

    leaves: Hashes
    """RFC 6962 leaf hashes of the rows."""
    blocks: Hashes
    """For each subject in order, the roots of its rows 0-31, 32-63, …"""
    subject_leaves: Hashes
    """RFC 6962 leaf hashes of the subjects."""
    root: bytes


def grow(
    times: npt.NDArray[np.int64], body: Hashes, tags: Hashes, counts: npt.NDArray[np.int64]
) -> SegmentTree:
    """The tree of rows with *times* (µs) and bodies, of which each subject in turn has *counts*."""
    leaves = row_leaves(times, body)
    blocks, sizes = leaves, counts
    for _ in range(BLOCK_LEVEL):
        blocks, sizes = _paired(blocks, sizes)
    subjects = subject_leaves(tags, counts, roots_over(blocks, sizes))
    return SegmentTree(leaves, blocks, subjects, root_of(subjects))


def blocks_in(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many blocks subjects with *counts* rows have."""
    return (counts + BLOCK_ROWS - 1) // BLOCK_ROWS


def roots_over(nodes: Hashes, sizes: npt.NDArray[np.int64]) -> Hashes:
    """Roots of trees over *nodes*, of which each tree in turn has *sizes*."""
    while len(sizes) and sizes.max() > 1:
        nodes, sizes = _paired(nodes, sizes)
    return nodes


def row_leaves(times: npt.NDArray[np.int64], body: Hashes) -> Hashes:
    """Leaf hashes of rows."""
    data = np.empty((len(body), 1 + 8 + HASH_BYTES), np.uint8)
    data[:, 0] = 0x00
    data[:, 1:9] = times.astype(">u8").view(np.uint8).reshape(-1, 8)
    data[:, 9:] = body
    return sha256_fixed(data)


def subject_leaves(tags: Hashes, counts: npt.NDArray[np.int64], roots: Hashes) -> Hashes:
    """Leaf hashes of subjects whose trees have *roots*."""
    inner = np.empty((len(tags), 1 + 8 + HASH_BYTES), np.uint8)
    inner[:, 0] = 0x05
    inner[:, 1:9] = counts.astype(">u8").view(np.uint8).reshape(-1, 8)
    inner[:, 9:] = roots
    data = np.empty((len(tags), 1 + 2 * HASH_BYTES), np.uint8)
    data[:, 0] = 0x00
    data[:, 1:33] = tags
    data[:, 33:] = sha256_fixed(inner)
    return sha256_fixed(data)


def root_of(leaves: Hashes) -> bytes:
    """RFC 6962 root over leaf hashes."""
    if not len(leaves):
        return EMPTY_ROOT
    root: bytes = roots_over(leaves, np.array([len(leaves)], np.int64))[0].tobytes()
    return root


def _paired(nodes: Hashes, sizes: npt.NDArray[np.int64]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """One level up in many trees at once; the odd last node of a tree goes up as it is (RFC 6962 2.1)."""
    above = (sizes + 1) // 2
    ends = np.cumsum(above)
    starts_below = np.cumsum(sizes) - sizes
    starts_above = ends - above
    total = int(ends[-1]) if len(ends) else 0
    left = 2 * (np.arange(total) - np.repeat(starts_above, above)) + np.repeat(starts_below, above)
    odd = np.zeros(total, bool)
    odd[ends[sizes % 2 == 1] - 1] = True
    pairs = left[~odd]
    data = np.empty((len(pairs), 1 + 2 * HASH_BYTES), np.uint8)
    data[:, 0] = 0x01
    data[:, 1:33] = nodes[pairs]
    data[:, 33:] = nodes[pairs + 1]
    result = np.empty((total, HASH_BYTES), np.uint8)
    result[~odd] = sha256_fixed(data)
    result[odd] = nodes[left[odd]]
    return result, above


def as_hashes(values: Sequence[bytes]) -> Hashes:
    """*values* of 32 bytes each, as an array."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, HASH_BYTES)
