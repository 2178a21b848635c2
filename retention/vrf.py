"""A keyed hash whose answers can be proved: ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, suite 0x03). Pure.

Rules:
    1. Only this module calls libsodium's point arithmetic, and none of its exceptions leaves it.
    2. A public key and a proof's Gamma must be canonical encodings of points of the prime-order subgroup, and
       not its identity. RFC 9381 refuses low order only, and in keys only (5.4.5). To be stricter costs no
       honest proof: ``x·B`` and ``x·H`` lie in the subgroup.
    3. The salt of encode_to_curve is the public key. Cofactor 8, challenge 16 bytes, scalars little-endian.
    4. Scalars are reduced mod q before libsodium sees them. It never answers the identity, so a zero scalar
       is answered here.
    5. Verification raises; it never returns False.
    6. How long an answer takes depends on alpha (RFC 9381 5.4.1.1): never compute one while somebody waits
       from whom alpha is kept.
"""

import hashlib
import os
from functools import cached_property
from typing import Final, Self

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from retention.errors import KeyMaterialError, ProofError

KEY_BYTES = 32
"""Of a seed, and of a public key."""
PROOF_BYTES = 80
"""Gamma (32) ‖ c (16) ‖ s (32)."""
OUTPUT_BYTES = 64

_SUITE = b"\x03"
_CHALLENGE_BYTES = 16
_Q = 2**252 + 27742317777372353535851937790883648493
"""Order of the subgroup, and of the base point B."""
_P = 2**255 - 19
"""Order of the field."""
_IDENTITY = b"\x01" + bytes(31)
_ZERO = bytes(32)
_EIGHT = b"\x08" + bytes(31)


class SecretKey:
    """What answers and proves; it exists so that a seed is expanded once, not once per answer."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise KeyMaterialError(f"VRF seed: expected {KEY_BYTES} bytes, found {len(seed)}")
        digest = hashlib.sha512(seed).digest()  # RFC 8032 5.1.5
        clamped = bytes([digest[0] & 0xF8]) + digest[1:31] + bytes([digest[31] & 0x3F | 0x40])
        # Never zero: a clamped scalar is a multiple of 8 and less than 8q.
        self._scalar = sodium.crypto_core_ed25519_scalar_reduce(clamped + _ZERO)
        self._scalar_times_8 = sodium.crypto_core_ed25519_scalar_mul(_EIGHT, self._scalar)
        self._nonce_prefix = digest[32:]
        self.seed: Final = seed
        """32 bytes, secret: all that needs to be kept."""

    @cached_property
    def public(self) -> bytes:
        """32 bytes: the Ed25519 public key of the seed. Computed when it is asked for: it costs 0.1 ms."""
        return _times_base(self._scalar)

    @classmethod
    def generate(cls) -> Self:
        """A new key, from the operating system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    def prove(self, alpha: bytes) -> bytes:
        """pi, 80 bytes: shows to whoever has ``public`` what the only answer for *alpha* is (RFC 9381 5.1).

        Raises:
            ProofError: *alpha* has no point on the curve, once in 2²⁵⁶.
        """
        point = _encode_to_curve(self.public, alpha)
        gamma = _times(self._scalar, point)
        nonce = sodium.crypto_core_ed25519_scalar_reduce(  # 5.4.2.2
            hashlib.sha512(self._nonce_prefix + point).digest()
        )
        challenge = _challenge(self.public, point, gamma, _times_base(nonce), _times(nonce, point))
        product = sodium.crypto_core_ed25519_scalar_mul(_scalar_of(challenge), self._scalar)
        return gamma + challenge + sodium.crypto_core_ed25519_scalar_add(nonce, product)

    def output(self, alpha: bytes) -> bytes:
        """beta, 64 bytes, without its proof: ``proof_to_hash(prove(alpha))`` at half the cost.

        Raises:
            ProofError: *alpha* has no point on the curve, once in 2²⁵⁶.
        """
        return _hash_of(_times(self._scalar_times_8, _encode_to_curve(self.public, alpha)))


def proof_to_hash(pi: bytes) -> bytes:
    """beta, 64 bytes, of a proof (RFC 9381 5.2). Only :func:`verify` says that it is anybody's answer.

    Raises:
        ProofError: *pi* is not a proof's encoding.
    """
    gamma, _, _ = _decode_proof(pi)
    return _hash_of(_times_8(gamma))


def verify(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    """beta, 64 bytes: the one answer of the key *public* for *alpha*, shown by *pi*.

    RFC 9381 5.3 with validate_key.

    Raises:
        ProofError: the key is weak or malformed, or *pi* does not prove an answer of this key for *alpha*.
    """
    # 1. The key (5.4.5). 2. The proof's parts (5.4.4). 3. The point of alpha (5.4.1.1).
    _check_point("VRF public key", public)
    gamma, challenge, s = _decode_proof(pi)
    point = _encode_to_curve(public, alpha)
    # 4. U = s·B - c·Y, V = s·H - c·Gamma.
    c = _scalar_of(challenge)
    u = sodium.crypto_core_ed25519_sub(_times_base(s), _times(c, public))
    v = sodium.crypto_core_ed25519_sub(_times(s, point), _times(c, gamma))
    # 5. The challenge that follows from them is the one in the proof.
    found = _challenge(public, point, gamma, u, v)
    if found != challenge:
        raise ProofError(f"VRF proof: expected challenge {challenge.hex()}, found {found.hex()}")
    # 6. beta.
    return _hash_of(_times_8(gamma))


def _decode_proof(pi: bytes) -> tuple[bytes, bytes, bytes]:
    """Gamma, c and s (RFC 9381 5.4.4)."""
    if len(pi) != PROOF_BYTES:
        raise ProofError(f"VRF proof: expected {PROOF_BYTES} bytes, found {len(pi)}")
    gamma, challenge, s = pi[:32], pi[32 : 32 + _CHALLENGE_BYTES], pi[32 + _CHALLENGE_BYTES :]
    _check_point("VRF proof, Gamma", gamma)
    if int.from_bytes(s, "little") >= _Q:
        raise ProofError(f"VRF proof, s: expected a number below q, found {s[::-1].hex()}")
    return gamma, challenge, s


def _check_point(what: str, encoded: bytes) -> None:
    if len(encoded) != KEY_BYTES:
        raise ProofError(f"{what}: expected {KEY_BYTES} bytes, found {len(encoded)}")
    if not sodium.crypto_core_ed25519_is_valid_point(encoded):
        raise ProofError(
            f"{what}: expected a canonical point of the prime-order subgroup, not its identity, "
            f"found {encoded.hex()}"
        )


def _encode_to_curve(public: bytes, alpha: bytes) -> bytes:
    """H: the first hash of *alpha* and a counter that is a point, times 8 (RFC 9381 5.4.1.1)."""
    prefix = hashlib.sha512(_SUITE + b"\x01" + public + alpha)
    for counter in range(256):
        attempt = prefix.copy()
        attempt.update(bytes((counter, 0)))
        point = _point_times_8(attempt.digest()[:32])
        if point is not None:
            return point
    raise ProofError("VRF input: expected a point within 256 attempts, found none")


def _point_times_8(encoded: bytes) -> bytes | None:
    """8·P of any 32 bytes; None if they encode no point (RFC 8032 5.1.3), or one of low order."""
    if int.from_bytes(encoded, "little") & (1 << 255) - 1 >= _P:  # libsodium would reduce it
        return None
    try:
        point = _times_8(encoded)
    except CryptoError:  # not on the curve
        return None
    return None if point == _IDENTITY else point


def _challenge(*points: bytes) -> bytes:
    """First 16 bytes of the hash of Y, H, Gamma, U, V (RFC 9381 5.4.3)."""
    return hashlib.sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:_CHALLENGE_BYTES]


def _hash_of(gamma_times_8: bytes) -> bytes:
    """Beta (RFC 9381 5.2, steps 4 to 7)."""
    return hashlib.sha512(_SUITE + b"\x03" + gamma_times_8 + b"\x00").digest()


def _scalar_of(challenge: bytes) -> bytes:
    return challenge + bytes(32 - _CHALLENGE_BYTES)


def _times_base(scalar: bytes) -> bytes:
    """scalar·B, for a scalar below q."""
    return _IDENTITY if scalar == _ZERO else sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)


def _times(scalar: bytes, point: bytes) -> bytes:
    """scalar·P, for a scalar below q and a point of the prime-order subgroup other than its identity."""
    return _IDENTITY if scalar == _ZERO else sodium.crypto_scalarmult_ed25519_noclamp(scalar, point)


def _times_8(point: bytes) -> bytes:
    """8·P by doubling, which libsodium does for every point of the curve and not only for its subgroup.

    Raises:
        CryptoError: *point* is not on the curve.
    """
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return point
