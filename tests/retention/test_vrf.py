"""The VRF: RFC 9381's vectors, a second implementation from plain integers, and all that must be refused."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention import vrf
from retention.errors import KeyMaterialError, ProofError
from retention.vrf import SecretKey
from tests.support import independent_vrf as independent


class Vector(NamedTuple):
    """One example of RFC 9381 appendix B.3, in hexadecimal."""

    seed: str
    public: str
    alpha: str
    point: str
    """H."""
    pi: str
    beta: str


VECTORS = {
    "16": Vector(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "91bbed02a99461df1ad4c6564a5f5d829d0b90cfc7903e7a5797bd658abf3318",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f"
        "26f8a57ccaed74ee1b190bed1f479d97"
        "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
        "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
    ),
    "17": Vector(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "5b659fc3d4e9263fd9a4ed1d022d75eaacc20df5e09f9ea937502396598dc551",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed593"
        "3bf0864a62558b3ed7f2fea45c92a465"
        "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
        "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
    ),
    "18": Vector(
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "bf4339376f5542811de615e3313d2b36f6f53c0acfebb482159711201192576a",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf80"
        "96bb474e53895c362d8628ee9f9ea3c0"
        "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
        "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
    ),
}
each_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=[f"example {name}" for name in VECTORS])

KEY = SecretKey(bytes(range(32)))
ALPHA = b"user\x00\x0401234567"
PI = KEY.prove(ALPHA)
SEEDS = st.binary(min_size=32, max_size=32)


def torsion() -> independent.Point:
    """A point of order 8: q times any point of the curve, unless that is of lower order."""
    y = 2
    while True:
        try:
            found = independent.multiply(independent.Q, independent.decode(y.to_bytes(32, "little")))
        except ValueError:
            y += 1
            continue
        if independent.encode(independent.multiply(4, found)) != independent.encode(independent.IDENTITY):
            return found
        y += 1


TORSION = torsion()
LOW_ORDER = [independent.encode(independent.multiply(times, TORSION)) for times in range(8)]
NOT_CANONICAL = [
    (number | sign << 255).to_bytes(32, "little")
    for number in (*range(independent.P, 1 << 255), 1, independent.P - 1)
    for sign in (0, 1)
    if number >= independent.P or sign
]
"""Every encoding that RFC 8032 5.1.3 refuses for its number: y not below p, and minus zero."""
OFF_CURVE = (2).to_bytes(32, "little")


def with_torsion(encoded: bytes, times: int = 1) -> bytes:
    """The same point plus *times* the point of order 8: outside the prime-order subgroup."""
    added = independent.multiply(times, TORSION)
    return independent.encode(independent.add(independent.decode(encoded), added))


TORSIONED = [with_torsion(KEY.public, times) for times in range(1, 8)]
"""Out of the subgroup by order 8, 4 and 2; libsodium before 2026 let order 2 pass (CVE-2025-69277)."""


def bit_flipped(data: bytes, bit: int) -> bytes:
    """*data* with one bit changed."""
    return (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")


@each_vector
def test_the_vectors(vector: Vector) -> None:
    """Examples 16 to 18: public key, point, proof and output are those of RFC 9381; the proof verifies."""
    alpha, beta = bytes.fromhex(vector.alpha), bytes.fromhex(vector.beta)

    key = SecretKey(bytes.fromhex(vector.seed))
    pi = key.prove(alpha)

    assert key.public.hex() == vector.public
    assert vrf._encode_to_curve(key.public, alpha).hex() == vector.point
    assert pi.hex() == vector.pi
    assert vrf.proof_to_hash(pi) == key.output(alpha) == beta
    assert vrf.verify(key.public, alpha, pi) == beta


@each_vector
def test_the_vectors_independently(vector: Vector) -> None:
    """The second implementation has the vectors' points, and accepts their proofs."""
    public, alpha = bytes.fromhex(vector.public), bytes.fromhex(vector.alpha)

    beta = independent.verify(public, alpha, bytes.fromhex(vector.pi))

    assert independent.encode(independent.encode_to_curve(public, alpha)).hex() == vector.point
    assert beta.hex() == vector.beta


@settings(deadline=None)
@given(SEEDS, st.binary(max_size=80))
def test_two_implementations_agree(seed: bytes, alpha: bytes) -> None:
    """For any key and input, the output alone, the proof's and both verifiers' are one."""
    key = SecretKey(seed)

    pi = key.prove(alpha)

    assert len(pi) == vrf.PROOF_BYTES
    assert len(key.output(alpha)) == vrf.OUTPUT_BYTES
    assert vrf.verify(key.public, alpha, pi) == vrf.proof_to_hash(pi) == key.output(alpha)
    assert independent.verify(key.public, alpha, pi) == key.output(alpha)


@settings(deadline=None)
@given(SEEDS, st.integers(0, 639))
def test_they_refuse_alike(seed: bytes, bit: int) -> None:
    """A proof with one bit changed is refused by both."""
    key = SecretKey(seed)
    pi = bit_flipped(key.prove(ALPHA), bit)

    with pytest.raises(ProofError):
        vrf.verify(key.public, ALPHA, pi)
    with pytest.raises(ValueError, match=r"canonical|curve|minus|reduced|challenge"):
        independent.verify(key.public, ALPHA, pi)


def test_every_bit_of_a_proof_counts() -> None:
    """Whichever of the 640 bits is changed, the proof is refused."""
    for bit in range(8 * vrf.PROOF_BYTES):
        with pytest.raises(ProofError):
            vrf.verify(KEY.public, ALPHA, bit_flipped(PI, bit))


def test_every_bit_of_the_input_counts() -> None:
    """A proof for one input is refused for each that differs in one bit, or in length."""
    others = [bit_flipped(ALPHA, bit) for bit in range(8 * len(ALPHA))]

    for other in (*others, ALPHA + b"\x00", ALPHA[:-1], b""):
        with pytest.raises(ProofError, match="expected challenge"):
            vrf.verify(KEY.public, other, PI)


def test_every_bit_of_the_key_counts() -> None:
    """A proof of one key is refused for each that differs in one bit, and for another good key."""
    others = [bit_flipped(KEY.public, bit) for bit in range(256)]

    for other in (*others, SecretKey.generate().public):
        with pytest.raises(ProofError):
            vrf.verify(other, ALPHA, PI)


@pytest.mark.parametrize(
    "encoded",
    [*LOW_ORDER, *NOT_CANONICAL, OFF_CURVE, *TORSIONED],
    ids=lambda encoded: encoded[::-1].hex()[:4] + "…" + encoded[::-1].hex()[-4:],
)
@pytest.mark.parametrize("place", ["key", "Gamma"])
def test_bad_points_are_refused(place: str, encoded: bytes) -> None:
    """No point of low order, off the curve, out of the subgroup or doubly encoded is a key or a Gamma."""
    public, pi = (encoded, PI) if place == "key" else (KEY.public, encoded + PI[32:])

    with pytest.raises(ProofError, match=rf"{place}: expected a canonical point.* found {encoded.hex()}"):
        vrf.verify(public, ALPHA, pi)


def test_the_bad_points_are_what_they_say() -> None:
    """Eight points of low order, 40 refused encodings, and seven torsioned keys that are on the curve."""
    assert len(set(LOW_ORDER)) == 8
    assert all(independent.decode(encoded) for encoded in LOW_ORDER)
    assert len(set(NOT_CANONICAL)) == 40
    for encoded in (*NOT_CANONICAL, OFF_CURVE):
        with pytest.raises(ValueError, match=r"canonical|minus zero|curve"):
            independent.decode(encoded)
    assert len({KEY.public, *TORSIONED}) == 8
    for encoded in TORSIONED:
        eightfold = independent.multiply(8, independent.decode(encoded))
        assert independent.encode(eightfold) == vrf._times_8(KEY.public)


def test_a_proof_with_torsion_is_refused() -> None:
    """Stricter than RFC 9381, on purpose: a key's owner can make a torsioned Gamma that the RFC accepts."""
    secret = hashlib.sha512(KEY.seed).digest()
    x = int.from_bytes(secret[:32], "little") & (1 << 254) - 8 | 1 << 254
    point = independent.encode_to_curve(KEY.public, ALPHA)
    gamma = with_torsion(PI[:32])
    for nonce in range(1, 1000):  # until the challenge is a multiple of 8, under which torsion vanishes
        u, v = independent.multiply(nonce, independent.BASE), independent.multiply(nonce, point)
        points = (KEY.public, independent.encode(point), gamma, independent.encode(u), independent.encode(v))
        challenge = independent.challenge(*points)
        if challenge[0] % 8 == 0:
            break
    s = (nonce + int.from_bytes(challenge, "little") * x) % independent.Q
    pi = gamma + challenge + s.to_bytes(32, "little")

    assert independent.verify(KEY.public, ALPHA, pi) == KEY.output(ALPHA)
    with pytest.raises(ProofError, match="Gamma: expected a canonical point"):
        vrf.verify(KEY.public, ALPHA, pi)


def test_s_is_reduced() -> None:
    """The same proof with s + q, which proves the same equation, is refused."""
    s = int.from_bytes(PI[48:], "little")

    for other in (s + independent.Q, independent.Q, (1 << 256) - 1):
        with pytest.raises(ProofError, match="s: expected a number below q"):
            vrf.verify(KEY.public, ALPHA, PI[:48] + other.to_bytes(32, "little"))


@pytest.mark.parametrize("zeroed", [slice(32, 48), slice(48, 80), slice(32, 80)], ids=["c", "s", "both"])
def test_zero_scalars_are_only_wrong(zeroed: slice) -> None:
    """A zero in place of c or s is refused for its challenge; nothing of the library shows."""
    pi = bytearray(PI)
    pi[zeroed] = bytes(zeroed.stop - zeroed.start)

    with pytest.raises(ProofError, match="expected challenge"):
        vrf.verify(KEY.public, ALPHA, bytes(pi))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: vrf.verify(KEY.public, ALPHA, PI[:-1]), "VRF proof: expected 80 bytes, found 79"),
        (lambda: vrf.verify(KEY.public, ALPHA, PI + b"\x00"), "VRF proof: expected 80 bytes, found 81"),
        (lambda: vrf.verify(KEY.public[:-1], ALPHA, PI), "VRF public key: expected 32 bytes, found 31"),
        (lambda: vrf.verify(b"", ALPHA, PI), "VRF public key: expected 32 bytes, found 0"),
        (lambda: vrf.proof_to_hash(b""), "VRF proof: expected 80 bytes, found 0"),
        (lambda: vrf.proof_to_hash(LOW_ORDER[0] + PI[32:]), "Gamma: expected a canonical point"),
        (lambda: vrf.proof_to_hash(PI[:48] + b"\xff" * 32), "s: expected a number below q"),
    ],
)
def test_a_refusal_says_what_was_expected(call: Callable[[], object], says: str) -> None:
    """Whatever is malformed is an integrity failure that says what was expected and what was found."""
    with pytest.raises(ProofError) as refusal:
        call()

    assert says in str(refusal.value)
    assert refusal.value.exit_code == 3


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_noise_is_refused(public: bytes, pi: bytes) -> None:
    """Any other bytes end in our error, never in the library's."""
    with pytest.raises(ProofError):
        vrf.verify(public, b"", pi)
    with pytest.raises(ProofError):
        vrf.verify(KEY.public, b"", pi)


@given(st.binary(min_size=32, max_size=32))
def test_points_are_read_as_the_rfc_reads_them(encoded: bytes) -> None:
    """Whether 32 bytes are a point, and which point is eight times it, is what plain integers say."""
    expected: bytes | None
    try:
        expected = independent.encode(independent.multiply(8, independent.decode(encoded)))
    except ValueError:
        expected = None

    assert vrf._point_times_8(encoded) == (None if encoded in LOW_ORDER else expected)


@pytest.mark.parametrize("encoded", [*LOW_ORDER, *NOT_CANONICAL, OFF_CURVE], ids=lambda one: one.hex()[:4])
def test_no_input_has_a_bad_point(encoded: bytes) -> None:
    """A hash that encodes no point, or one of low order, is passed over for the next counter."""
    assert vrf._point_times_8(encoded) is None


def test_an_input_without_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no counter gives a point, proving and verifying end in our error."""
    monkeypatch.setattr(vrf, "_point_times_8", lambda _: None)

    calls: list[Callable[[], bytes]] = [
        lambda: KEY.prove(ALPHA),
        lambda: KEY.output(ALPHA),
        lambda: vrf.verify(KEY.public, ALPHA, PI),
    ]
    for call in calls:
        with pytest.raises(ProofError, match="within 256 attempts, found none"):
            call()


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length: int) -> None:
    """A seed of another length is a key error with its length, not an answer."""
    with pytest.raises(KeyMaterialError, match=f"expected 32 bytes, found {length}"):
        SecretKey(bytes(length))


def test_keys_are_made_and_kept() -> None:
    """A generated key is new, and its seed is all that is needed to have it again."""
    key, other = SecretKey.generate(), SecretKey.generate()

    again = SecretKey(key.seed)

    assert key.seed != other.seed
    assert again.public == key.public
    assert again.output(ALPHA) == key.output(ALPHA) != other.output(ALPHA)


def test_a_key_does_not_show_its_secrets() -> None:
    """Neither seed nor scalar is in what a log or a traceback would print."""
    shown = f"{KEY!r} {KEY}"

    assert KEY.seed.hex() not in shown
    assert repr(KEY.seed) not in shown
