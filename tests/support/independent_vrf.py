"""ECVRF-EDWARDS25519-SHA512-TAI a second time: plain integers, standard library, no code of the package.

Written from RFC 9381 (section 5) and RFC 8032 (5.1.1 to 5.1.4). It is slow, leaks by its timing, and is for
tests. It is exactly as strict as RFC 9381: Gamma and the key may lie outside the prime-order subgroup.
"""

import hashlib

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z."""

IDENTITY: Point = (0, 1, 1, 0)


def add(first: Point, second: Point) -> Point:
    """RFC 8032 5.1.4; the formula is complete, so it doubles too."""
    x1, y1, z1, t1 = first
    x2, y2, z2, t2 = second
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def negative(point: Point) -> Point:
    """The inverse."""
    x, y, z, t = point
    return -x % P, y, z, -t % P


def multiply(scalar: int, point: Point) -> Point:
    """Double and add."""
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encode(point: Point) -> bytes:
    """RFC 8032 5.1.2: y little-endian, the parity of x in the highest bit."""
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def decode(encoded: bytes) -> Point:
    """RFC 8032 5.1.3; ValueError says which of its conditions does not hold."""
    number = int.from_bytes(encoded, "little")
    y, parity = number & (1 << 255) - 1, number >> 255
    if len(encoded) != 32 or y >= P:
        raise ValueError("not canonical")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square:
        raise ValueError("not on the curve")
    if x == 0 and parity:
        raise ValueError("minus zero")
    if x & 1 != parity:
        x = P - x
    return x, y, 1, x * y % P


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def encode_to_curve(public: bytes, alpha: bytes) -> Point:
    """RFC 9381 5.4.1.1, salted with the public key."""
    for counter in range(256):
        digest = hashlib.sha512(b"\x03\x01" + public + alpha + bytes([counter]) + b"\x00").digest()
        try:
            point = multiply(8, decode(digest[:32]))
        except ValueError:
            continue
        if encode(point) != encode(IDENTITY):
            return point
    raise ValueError("no point for alpha")


def challenge(*points: bytes) -> bytes:
    """RFC 9381 5.4.3, of five encoded points."""
    return hashlib.sha512(b"\x03\x02" + b"".join(points) + b"\x00").digest()[:16]


def verify(public: bytes, alpha: bytes, pi: bytes) -> bytes:
    """RFC 9381 5.3 with validate_key: beta, or ValueError."""
    key = decode(public)
    if encode(multiply(8, key)) == encode(IDENTITY):
        raise ValueError("key of low order")
    if len(pi) != 80:
        raise ValueError("proof of another length")
    gamma, c, s = decode(pi[:32]), int.from_bytes(pi[32:48], "little"), int.from_bytes(pi[48:], "little")
    if s >= Q:
        raise ValueError("s is not reduced")
    point = encode_to_curve(public, alpha)
    u = add(multiply(s, BASE), negative(multiply(c, key)))
    v = add(multiply(s, point), negative(multiply(c, gamma)))
    if challenge(public, encode(point), pi[:32], encode(u), encode(v)) != pi[32:48]:
        raise ValueError("the challenge does not fit")
    return hashlib.sha512(b"\x03\x03" + encode(multiply(8, gamma)) + b"\x00").digest()
