"""Merkle trees: the published vectors, and RFC 6962 2.1 written a second time, for every size up to 70."""

import hashlib
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention import merkle
from retention.errors import ProofError
from retention.merkle import EMPTY_ROOT, Frontier
from tests.support.disk import flipped

LARGEST = 70
SIZES = range(LARGEST + 1)
LEAVES = tuple(merkle.leaf_hash(b"leaf %d" % number) for number in SIZES)
STRANGER = merkle.leaf_hash(b"a stranger")


# RFC 6962 2.1, word for word, over D[first:end] of LEAVES.


def split(size: int) -> int:
    """The largest power of two smaller than *size*."""
    k = 1
    while k * 2 < size:
        k *= 2
    return k


@cache
def mth(first: int, end: int) -> bytes:
    """MTH(D[first:end])."""
    if end == first:
        return hashlib.sha256().digest()
    if end - first == 1:
        return LEAVES[first]
    middle = first + split(end - first)
    return hashlib.sha256(b"\x01" + mth(first, middle) + mth(middle, end)).digest()


def path(index: int, first: int, end: int) -> list[bytes]:
    """PATH(index, D[first:end])."""
    if end - first == 1:
        return []
    k = split(end - first)
    if index < k:
        return [*path(index, first, first + k), mth(first + k, end)]
    return [*path(index - k, first + k, end), mth(first, first + k)]


def subproof(old: int, first: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(old, D[first:end], whole)."""
    if old == end - first:
        return [] if whole else [mth(first, end)]
    k = split(end - first)
    if old <= k:
        return [*subproof(old, first, first + k, whole), mth(first + k, end)]
    return [*subproof(old - k, first + k, end, whole=False), mth(first, first + k)]


# On which side each element joins: proofs of the same shape are the same computation, whatever their sizes.


@cache
def path_shape(index: int, size: int) -> str:
    """Sides of PATH(index, D[size]); a leaf that is not there has none."""
    if not 0 <= index < size:
        return "no such leaf"
    if size == 1:
        return ""
    k = split(size)
    return path_shape(index, k) + "r" if index < k else path_shape(index - k, size - k) + "l"


@cache
def proof_shape(old: int, new: int, *, whole: bool = True) -> str:
    """Sides of PROOF(old, D[new]), and whether it starts with the old root."""
    if not 0 < old <= new:
        return "no such growth"
    if old == new:
        return "old root" if whole else "given"
    k = split(new)
    if old <= k:
        return proof_shape(old, k, whole=whole) + "r"
    return proof_shape(old - k, new - k, whole=False) + "l"


def refused(check: Callable[..., None], *arguments: object) -> bool:
    """Whether *check* raises; anything but ProofError is a failed test."""
    try:
        check(*arguments)
    except ProofError:
        return True
    return False


def spoiled(proof: list[bytes]) -> list[list[bytes]]:
    """Every proof with one element altered, dropped, added or exchanged with its neighbour."""
    places = range(len(proof))
    altered = [[*proof[:at], flipped(proof[at], at), *proof[at + 1 :]] for at in places]
    dropped = [[*proof[:at], *proof[at + 1 :]] for at in places]
    added = [[*proof[:at], STRANGER, *proof[at:]] for at in range(len(proof) + 1)]
    swapped = [[*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]] for at in places[:-1]]
    short = [[*proof[:at], proof[at][:31], *proof[at + 1 :]] for at in places]
    return altered + dropped + added + swapped + short


# The reference trees of Certificate Transparency (google/certificate-transparency, transparency-dev/merkle).

CT_DATA = [
    bytes.fromhex(data)
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_LEAVES = [merkle.leaf_hash(data) for data in CT_DATA]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_01 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
CT_INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        CT_01,
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        CT_ROOTS[4],
    ],
    (2, 3): [CT_ROOTS[2]],
    (1, 5): [CT_ROOTS[1], CT_01, "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): CT_INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        CT_ROOTS[4],
    ],
    (2, 5): [CT_01, "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"],
}


def test_the_published_roots() -> None:
    """The reference leaves have the published roots, for each size from none to all."""
    roots = [merkle.root(CT_LEAVES[:size]).hex() for size in range(9)]

    assert roots == CT_ROOTS
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_the_published_inclusion_proofs(index: int, size: int) -> None:
    """Each published path is the one made here, and verifies."""
    proof = merkle.inclusion_proof(CT_LEAVES[:size], index)

    assert [one.hex() for one in proof] == CT_INCLUSION[index, size]
    merkle.verify_inclusion(CT_LEAVES[index], index, size, proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCY)
def test_the_published_consistency_proofs(old: int, new: int) -> None:
    """Each published consistency proof is the one made here, and verifies."""
    proof = merkle.consistency_proof(CT_LEAVES[:new], old)

    assert [one.hex() for one in proof] == CT_CONSISTENCY[old, new]
    roots = bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new])
    merkle.verify_consistency(old, new, *roots, proof)


def test_roots_are_those_of_the_definition() -> None:
    """Pairing level by level gives MTH, for every size."""
    for size in SIZES:
        assert merkle.root(LEAVES[:size]) == mth(0, size), size


def test_every_inclusion_proof() -> None:
    """For every leaf of every size the proof is PATH, and leads to the root."""
    for size in SIZES:
        for index in range(size):
            proof = merkle.inclusion_proof(LEAVES[:size], index)

            assert proof == path(index, 0, size), (index, size)
            assert merkle.root_from_inclusion(LEAVES[index], index, size, proof) == mth(0, size)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, mth(0, size))


def test_every_consistency_proof() -> None:
    """For every pair of sizes the proof is PROOF, and joins the two roots."""
    for new in SIZES:
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(LEAVES[:new], old)

            assert proof == subproof(old, 0, new, whole=True), (old, new)
            merkle.verify_consistency(old, new, mth(0, old), mth(0, new), proof)


def test_a_spoiled_inclusion_proof_is_refused() -> None:
    """One element altered, dropped, added, exchanged or cut, another leaf or another root: never accepted."""
    for size in SIZES:
        for index in range(size):
            leaf, proof, top = LEAVES[index], path(index, 0, size), mth(0, size)

            for other in spoiled(proof):
                assert refused(merkle.verify_inclusion, leaf, index, size, other, top), (index, size)
            assert refused(merkle.verify_inclusion, STRANGER, index, size, proof, top)
            assert refused(merkle.verify_inclusion, leaf, index, size, proof, STRANGER)


def test_another_index_or_size_is_refused() -> None:
    """A proof holds for one place only; another size is accepted only where the path is the very same."""
    for size in SIZES:
        for index in range(size):
            leaf, proof, top = LEAVES[index], path(index, 0, size), mth(0, size)
            shape = path_shape(index, size)

            for other in range(-1, size + 3):
                accepted = not refused(merkle.verify_inclusion, leaf, other, size, proof, top)
                assert accepted == (other == index), (other, index, size)
            for other in range(-1, LARGEST + 3):
                accepted = not refused(merkle.verify_inclusion, leaf, index, other, proof, top)
                assert accepted == (path_shape(index, other) == shape), (index, other, size)


def test_a_spoiled_consistency_proof_is_refused() -> None:
    """One element altered, dropped, added, exchanged or cut, another old or new root: never accepted."""
    for new in SIZES:
        for old in range(1, new + 1):
            roots, proof = (mth(0, old), mth(0, new)), subproof(old, 0, new, whole=True)

            for other in spoiled(proof):
                assert refused(merkle.verify_consistency, old, new, *roots, other), (old, new)
            assert refused(merkle.verify_consistency, old, new, STRANGER, roots[1], proof)
            assert refused(merkle.verify_consistency, old, new, roots[0], STRANGER, proof)
            assert old == new or refused(merkle.verify_consistency, old, new, *reversed(roots), proof)


def test_other_sizes_are_refused() -> None:
    """Consistency holds for one pair of sizes; others pass only where the computation is the very same."""
    for new in SIZES:
        for old in range(1, new + 1):
            roots, proof = (mth(0, old), mth(0, new)), subproof(old, 0, new, whole=True)
            shape = proof_shape(old, new)

            for other in range(-1, LARGEST + 3):
                for sizes in ((other, new), (old, other)):
                    accepted = not refused(merkle.verify_consistency, *sizes, *roots, proof)
                    assert accepted == (proof_shape(*sizes) == shape), (sizes, old, new)


def test_everything_grew_from_nothing() -> None:
    """The empty tree is consistent with every tree by an empty proof, under its one root and no other."""
    for new in SIZES:
        assert merkle.consistency_proof(LEAVES[:new], 0) == []
        merkle.verify_consistency(0, new, EMPTY_ROOT, mth(0, new), [])
        assert refused(merkle.verify_consistency, 0, new, STRANGER, mth(0, new), [])
        assert refused(merkle.verify_consistency, 0, new, EMPTY_ROOT, mth(0, new), [STRANGER])
    assert refused(merkle.verify_consistency, 0, 0, STRANGER, STRANGER, [])
    assert refused(merkle.verify_consistency, 0, 0, EMPTY_ROOT, STRANGER, [])


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda: merkle.inclusion_proof(LEAVES[:8], 8), "below 8, the tree's size, found leaf 8"),
        (lambda: merkle.inclusion_proof(LEAVES[:8], -1), "found leaf -1"),
        (lambda: merkle.inclusion_proof([], 0), "below 0"),
        (lambda: merkle.consistency_proof(LEAVES[:8], 9), "from 0 to 8, the new size, found 9"),
        (lambda: merkle.consistency_proof(LEAVES[:8], -1), "found -1"),
        (lambda: merkle.root_from_inclusion(LEAVES[0], 0, 0, []), "below 0"),
        (lambda: merkle.root_from_inclusion(LEAVES[0], 0, 8, [STRANGER]), "expected 3 hashes, found 1"),
        (lambda: merkle.root_from_inclusion(LEAVES[0], 0, 1, [STRANGER]), "expected 0 hashes, found 1"),
        (lambda: merkle.root_from_inclusion(b"data", 0, 1, []), "hash of 32 bytes, found 4 bytes"),
        (
            lambda: merkle.verify_inclusion(STRANGER, 0, 1, [], LEAVES[0]),
            "inclusion of leaf 0 in 1: expected root",
        ),
        (
            lambda: merkle.verify_consistency(5, 4, STRANGER, STRANGER, []),
            "from 0 to 4, the new size, found 5",
        ),
        (lambda: merkle.verify_consistency(-1, 4, STRANGER, STRANGER, []), "found -1"),
        (lambda: merkle.verify_consistency(4, 5, STRANGER, STRANGER, []), "expected 1 hashes, found 0"),
        (lambda: merkle.verify_consistency(4, 4, b"", STRANGER, []), "found 0 bytes"),
        (lambda: merkle.verify_consistency(4, 4, LEAVES[0], STRANGER, []), "consistency of 4 with 4"),
        (lambda: Frontier().append(b"a line"), "found 6 bytes"),
    ],
)
def test_a_refusal_says_what_was_expected(check: Callable[[], object], says: str) -> None:
    """Every refusal is an integrity failure that says what was expected and what was found."""
    with pytest.raises(ProofError) as refusal:
        check()

    assert says in str(refusal.value)
    assert refusal.value.exit_code == 3


@pytest.mark.parametrize("size", [2**40 + 1, 2**63 - 1])
def test_a_huge_size_costs_nothing(size: int) -> None:
    """A made-up size is refused at once, by the length that its proof would have."""
    with pytest.raises(ProofError, match=r"expected \d+ hashes, found 2"):
        merkle.verify_inclusion(STRANGER, size - 1, size, [STRANGER] * 2, STRANGER)


def test_leaves_are_no_nodes() -> None:
    """The hash of a leaf is never the hash of a node over the same bytes."""
    left, right = LEAVES[:2]

    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)
    assert merkle.leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()


def test_the_frontier_is_the_tree_at_every_size() -> None:
    """Leaf after leaf, the frontier has the size and the root of the tree."""
    frontier = Frontier()

    for size in SIZES:
        assert (frontier.size, frontier.root()) == (size, mth(0, size))
        frontier.append(LEAVES[size])


@given(st.lists(st.binary(max_size=8), max_size=300))
def test_the_frontier_keeps_the_root(data: list[bytes]) -> None:
    """Appending one by one gives the root over all, whatever the leaves are."""
    frontier = Frontier()

    for one in data:
        frontier.append(merkle.leaf_hash(one))

    assert frontier.root() == merkle.root([merkle.leaf_hash(one) for one in data])
    assert frontier.size == len(data)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_a_copy_grows_by_itself(first: int, second: int) -> None:
    """What is appended to a copy does not reach its original, nor the other way round."""
    frontier = Frontier()
    for leaf in LEAVES[:first]:
        frontier.append(leaf)

    other = frontier.copy()
    for leaf in LEAVES[:second]:
        other.append(leaf)
    root_of_both = merkle.root([*LEAVES[:first], *LEAVES[:second]])

    assert (frontier.size, frontier.root()) == (first, mth(0, first))
    frontier.append(STRANGER)
    assert (other.size, other.root()) == (first + second, root_of_both)
