"""Merkle trees over SHA-256, as RFC 6962 and RFC 9162 define them. Pure; touches no file.

Rules:
    1. ``leaf = SHA-256(0x00 ‖ data)``, ``node = SHA-256(0x01 ‖ left ‖ right)``; the root of no leaves is the
       SHA-256 of nothing. A level of odd length hands its last hash up unchanged, which is the same tree as
       RFC 6962's split at the largest power of two (2.1).
    2. Whoever builds passes leaf hashes, never data. Whoever asks to verify is believed in nothing: each hash
       must have 32 bytes, each proof exactly the length that its sizes ask for.
    3. Verification raises; it never returns False.
    4. A proof binds the *path*, not the number that names it: leaf 0 has the same path in trees of 3 and of 4
       leaves. Sizes and roots must therefore come from one signed checkpoint, never from the proof's giver.
"""

import copy
import hashlib
from collections.abc import Iterable, Sequence
from typing import Self

from retention.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf, 32 bytes (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, 32 bytes (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root of the tree over *leaf_hashes*, 32 bytes: MTH of RFC 9162 2.1.1."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """What leads from leaf *index*, from 0, to the root, lowest first: PATH of RFC 9162 2.1.3.1.

    Raises:
        ProofError: the tree has no such leaf.
    """
    _check_index(index, len(leaf_hashes))
    return _siblings(leaf_hashes, index)


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that *proof* leads to from leaf *index* of *size* (RFC 9162 2.1.3.2, steps 1 to 4).

    It proves nothing before it is compared with a root that is trusted.

    Raises:
        ProofError: the tree has no such leaf, or the proof has not its shape.
    """
    _check_index(index, size)
    _check_length("inclusion proof", proof, _path_length(index, size - 1))
    _check_hashes((leaf_hash, *proof))
    node, last = index, size - 1
    found = leaf_hash
    for sibling in proof:
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            skipped = _trailing_zeros(node)
            node, last = node >> skipped, last >> skipped
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return found


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that *leaf_hash* is leaf *index*, from 0, of the tree of *size* leaves under *root*.

    RFC 9162 2.1.3.2; rule 4 says what it does not show.

    Raises:
        ProofError: it is not, or that cannot be told from this proof.
    """
    found = root_from_inclusion(leaf_hash, index, size, proof)
    _check_root(f"inclusion of leaf {index} in {size}", expected=root, found=found)


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """What shows that the first *old_size* leaves made the tree that grew: PROOF of RFC 9162 2.1.4.1.

    It is empty for the whole tree, and for the empty one, of which RFC 9162 does not speak.

    Raises:
        ProofError: the old tree would be larger than this one.
    """
    _check_growth(old_size, len(leaf_hashes))
    if old_size in (0, len(leaf_hashes)):
        return []
    node, level = old_size - 1, leaf_hashes
    while node & 1:  # up to the largest full subtree that ends where the old tree ended
        node, level = node >> 1, _parents(level)
    start = [level[node]] if node else []  # node 0 is the whole old tree: its root is known
    return start + _siblings(level, node)


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree under *new_root* starts with all leaves of the one under *old_root*.

    RFC 9162 2.1.4.2. Every tree grew from the empty one, if *old_root* is that one's and the proof empty.

    Raises:
        ProofError: it does not, or that cannot be told from this proof.
    """
    _check_growth(old_size, new_size)
    _check_hashes((old_root, new_root, *proof))
    if old_size in (0, new_size):
        _check_length("consistency proof", proof, 0)
        known = new_root if old_size else EMPTY_ROOT
        _check_root(f"consistency of {old_size} with {new_size}", expected=known, found=old_root)
        if new_size == 0:
            _check_root("tree without leaves", expected=EMPTY_ROOT, found=new_root)
        return
    found_old, found_new = _roots_from_consistency(old_size, new_size, old_root, proof)
    _check_root(f"consistency of {old_size} with {new_size}, old root", expected=old_root, found=found_old)
    _check_root(f"consistency of {old_size} with {new_size}, new root", expected=new_root, found=found_new)


class Frontier:
    """The right edge of a growing tree: enough to append and to know the root, in O(log n) hashes."""

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._nodes: tuple[bytes, ...] = ()
        """Roots of the full subtrees, largest first: one for each bit that is set in the size."""
        self._size = 0

    @property
    def size(self) -> int:
        """How many leaves were appended."""
        return self._size

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf at the right.

        Raises:
            ProofError: *leaf_hash* is no hash; nothing was added.
        """
        _check_hashes((leaf_hash,))
        nodes, node, full = self._nodes, leaf_hash, self._size
        while full & 1:
            nodes, node, full = nodes[:-1], node_hash(nodes[-1], node), full >> 1
        self._nodes = (*nodes, node)
        self._size += 1

    def root(self) -> bytes:
        """Root of the tree as it is now, 32 bytes."""
        if not self._nodes:
            return EMPTY_ROOT
        *larger, found = self._nodes
        for left in reversed(larger):
            found = node_hash(left, found)
        return found

    def copy(self) -> Self:
        """Another one of the same leaves, which grows by itself."""
        return copy.copy(self)


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """The level above; an odd last hash is handed up."""
    sha256 = hashlib.sha256
    above = [
        sha256(b"\x01" + left + right).digest()
        for left, right in zip(level[::2], level[1::2], strict=False)  # the odd one has no partner
    ]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _siblings(level: Sequence[bytes], node: int) -> list[bytes]:
    """What stands beside *node* of *level*, and beside each node above it."""
    found = []
    while len(level) > 1:
        if node ^ 1 < len(level):
            found.append(level[node ^ 1])
        node, level = node >> 1, _parents(level)
    return found


def _roots_from_consistency(
    old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Old and new root that *proof* leads to, for ``0 < old_size < new_size`` (RFC 9162 2.1.4.2, 2 to 6)."""
    full = _trailing_zeros(old_size)
    node, last = (old_size - 1) >> full, (new_size - 1) >> full
    _check_length("consistency proof", proof, _path_length(node, last) + (node > 0))
    start, *path = (old_root, *proof) if node == 0 else proof
    found_old = found_new = start
    for sibling in path:
        if node & 1 or node == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            skipped = _trailing_zeros(node)
            node, last = node >> skipped, last >> skipped
        else:
            found_new = node_hash(found_new, sibling)
        node, last = node >> 1, last >> 1
    return found_old, found_new


def _path_length(node: int, last: int) -> int:
    """How many siblings a node has on its way up, in a level whose last node is *last*.

    Below the level where the ways of both meet, each step has a sibling; above it, only steps from the right.
    """
    below = (node ^ last).bit_length()
    return below + (node >> below).bit_count()


def _trailing_zeros(number: int) -> int:
    """How many zero bits end *number*, which is not 0."""
    return (number & -number).bit_length() - 1


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError(f"expected a leaf from 0 to below {size}, the tree's size, found leaf {index}")


def _check_growth(old_size: int, new_size: int) -> None:
    if not 0 <= old_size <= new_size:
        raise ProofError(f"expected an old size from 0 to {new_size}, the new size, found {old_size}")


def _check_length(what: str, proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise ProofError(f"{what}: expected {expected} hashes, found {len(proof)}")


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for one in hashes:
        if len(one) != HASH_BYTES:
            raise ProofError(f"expected a hash of {HASH_BYTES} bytes, found {len(one)} bytes")


def _check_root(what: str, *, expected: bytes, found: bytes) -> None:
    if found != expected:
        raise ProofError(f"{what}: expected root {expected.hex()[:16]}…, found {found.hex()[:16]}…")
