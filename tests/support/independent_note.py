"""A second verifier of signed notes and checkpoints: standard library only, Ed25519 from RFC 8032's formulas.

It shares no code with ``retention.note``, works on bytes with one pattern, takes keys as text, and is slow
(some milliseconds for a signature). Nothing secret goes through it, so constant time is no concern.
"""

import base64
import hashlib
import re
from typing import Final, NamedTuple

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, P - 2, P) % P
SQRT_OF_MINUS_1: Final = pow(2, (P - 1) // 4, P)

WHITE: Final = (
    *(0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
)
"""Code points with the Unicode property White_Space."""

NOTE: Final = re.compile(rb"((?:[^\n]*\n)+)\n((?:\xe2\x80\x94 [^ \n]+ [A-Za-z0-9+/]+={0,2}\n){1,100})")
CHECKPOINT: Final = re.compile(
    r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]*)\n(?P<root>[A-Za-z0-9+/]{43}=)\n(?P<extension>([^\n]+\n)*)"
)


class RefusedError(Exception):
    """The note is not what it should be."""


class Opened(NamedTuple):
    """What a note says, and who says so."""

    text: str
    signed_by: list[str]
    """The keys as they were given, each once."""
    unknown: int


class Head(NamedTuple):
    """What a checkpoint says."""

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...]


def open_note(data: bytes, keys: list[str]) -> Opened:
    """The text of *data* and which of *keys* (``name+hash+base64``) signed it."""
    whole = utf8(data)
    require(len(data) <= 1_000_000, "too long")
    require(not any(ord(sign) < 32 and sign != "\n" for sign in whole), "control character")
    match = NOTE.fullmatch(data)
    require(match is not None, "not a note")
    assert match is not None
    known = {read_key(key)[:2]: (key, read_key(key)[2]) for key in keys}
    signed_by: list[str] = []
    unknown = set()
    for line in match[2].splitlines():
        _, name, encoded = line.split(b" ")
        check_name(utf8(name))
        raw = base64_exactly(encoded)
        require(len(raw) > 4, "short signature")
        key, public = known.get((utf8(name), raw[:4].hex()), ("", b""))
        if not key:
            unknown.add(line)
            continue
        require(verifies(public, match[1], raw[4:]), "false signature")
        signed_by += [key] if key not in signed_by else []
    require(bool(signed_by), "no signature by a known key")
    return Opened(utf8(match[1]), signed_by, len(unknown))


def open_checkpoint(data: bytes, keys: list[str]) -> Head:
    """The checkpoint in *data*, signed by one of *keys* that has the name of its origin."""
    note = open_note(data, keys)
    head = read_checkpoint(note.text)
    require(head.origin in [key.partition("+")[0] for key in note.signed_by], "origin did not sign")
    return head


def read_checkpoint(text: str) -> Head:
    """The parts of a checkpoint's text."""
    match = CHECKPOINT.fullmatch(text)
    require(match is not None, "not a checkpoint")
    assert match is not None
    require(len(match["size"]) <= 20 and int(match["size"]) < 2**64, "size")
    root = base64_exactly(match["root"].encode())
    return Head(match["origin"], int(match["size"]), root, tuple(match["extension"].split("\n")[:-1]))


def read_key(key: str) -> tuple[str, str, bytes]:
    """Name, ID in hexadecimal and public key of ``name+hash+base64``."""
    match = re.fullmatch(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+)", key)
    require(match is not None, "not a key")
    assert match is not None
    name, key_id, raw = match[1], match[2], base64_exactly(match[3].encode())
    check_name(name)
    require(len(raw) == 33 and raw[0] == 1, "not an Ed25519 key")
    require(hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == key_id, "ID of another key")
    return name, key_id, raw[1:]


def check_name(name: str) -> None:
    """Refuse what cannot be a key's name."""
    codes = [ord(sign) for sign in name]
    require(not any(code in WHITE or code < 32 or code == 0x2B for code in codes), "name")
    require(not any(0xD800 <= code <= 0xDFFF for code in codes), "half a character in a name")


def require(truth: bool, what: str) -> None:
    """Refuse, unless *truth*."""
    if not truth:
        raise RefusedError(what)


def utf8(data: bytes) -> str:
    """Text of *data*."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("not UTF-8") from None


def base64_exactly(encoded: bytes) -> bytes:
    """Bytes of *encoded*, which has the right padding and no spare bits set."""
    require(len(encoded) % 4 == 0, "length of base64")
    padding = len(encoded) - len(encoded.rstrip(b"="))
    spare = {0: b"", 1: b"AEIMQUYcgkosw048", 2: b"AQgw"}[padding]
    require(not spare or encoded[-1 - padding] in spare, "spare bits of base64")
    return base64.b64decode(encoded)


Point = tuple[int, int, int, int]
"""X, Y, Z, T with x = X/Z, y = Y/Z, x·y = T/Z (RFC 8032, 5.1.4)."""

NEUTRAL: Final[Point] = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether *signature* is of *message* by *public*: RFC 8032, 5.1.7, compared without the cofactor."""
    a = decode_point(public)
    s = int.from_bytes(signature[32:], "little")
    if a is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus_a = (P - a[0], a[1], a[2], P - a[3])
    return encode_point(add(multiply(s, BASE), multiply(k, minus_a))) == signature[:32]


def add(p: Point, q: Point) -> Point:
    """The sum of two points, equal or not (5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar: int, point: Point) -> Point:
    """*point* added to itself, *scalar* times in all."""
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def encode_point(point: Point) -> bytes:
    """32 bytes: y, and the lowest bit of x on top (5.1.2)."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode_point(encoded: bytes) -> Point | None:
    """The point, or ``None`` if there is none (5.1.3)."""
    number = int.from_bytes(encoded, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    if len(encoded) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_OF_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and odd):
        return None
    x = P - x if x & 1 != odd else x
    return x, y, 1, x * y % P


BASE: Final = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or NEUTRAL
