"""Signed notes and checkpoints: text that anyone can verify with a public key (C2SP, Ed25519 only).

Rules (c2sp.org/signed-note, c2sp.org/tlog-checkpoint):
    1. A note is text that ends in a newline, an empty line, and 1 to 100 lines ``— name base64``. It is UTF-8
       without control characters below U+0020 other than the newline, and at most 1,000,000 bytes. The last
       empty line separates: the text may hold others.
    2. Name and key ID together name a key. A signature by a key that was not given is ignored; one by a
       given key is verified, however often that key signed, and if it does not verify the note is refused.
    3. Text is given out only if at least one given key signed it. Who must have signed is the caller's to
       say: taking away one of several signatures leaves a valid note, with fewer keys in ``signed_by``.
    4. There is one way to write everything. Base64 is padded, without spare bits; numbers have no leading
       zeros; key IDs are lower case. This is stricter than the specification, also for ignored signatures.
    5. A checkpoint counts only if a key with the name of its origin signed it.
    6. Nothing is signed that ``open_note`` or ``open_checkpoint`` would refuse.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from retention.errors import NoteError

MAX_BYTES = 1_000_000
"""Of a whole note, signatures included."""

MAX_SIGNATURES = 100
"""In one note, ignored ones included. The specification wants at least 16."""

_ED25519 = b"\x01"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,19}")


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key. Refused with ``NoteError`` if its parts do not fit each other."""

    name: str
    """As in signature lines: not empty, no white space, control character or ``+``."""

    key_id: bytes
    """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public)."""

    public: bytes
    """32 bytes, as RFC 8032 encodes them."""

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise NoteError(f"expected a key name without spaces, control characters and '+': {self.name!r}")
        if len(self.public) != 32:
            raise NoteError(f"key {self.name}: expected 32 bytes, found {len(self.public)}")
        expected = _digest(self.name, self.public)[:4]
        if self.key_id != expected:
            raise NoteError(f"key {self.name}: stated ID {self.key_id.hex()}, but its ID is {expected.hex()}")

    @classmethod
    def of(cls, name: str, public: bytes) -> Self:
        """The key *public* (32 bytes) under *name*, with the ID that follows from both.

        Raises:
            NoteError: *name* is not one, or *public* has another length.
        """
        if not _is_name(name):  # a name that is not UTF-8 has no digest
            raise NoteError(f"expected a key name without spaces, control characters and '+': {name!r}")
        return cls(name=name, key_id=_digest(name, public)[:4], public=public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key written as ``name+hash+base64``; ``str`` gives exactly *text* back.

        Raises:
            NoteError: it has another form, is not of Ed25519, or its hash is another key's.
        """
        name, _, rest = text.partition("+")
        key_id, _, material = rest.partition("+")
        raw = _decode_base64(material)
        if not _KEY_ID.fullmatch(key_id) or raw is None or len(raw) != 33:
            raise NoteError(f"expected a verifier key name+hash+base64, found {text[:100]!r}")
        if not raw.startswith(_ED25519):
            raise NoteError(f"key {name}: expected signature type 01 (Ed25519), found {raw[0]:02x}")
        return cls(name=name, key_id=bytes.fromhex(key_id), public=raw[1:])

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


class Signer(Protocol):
    """Who can sign: a private key, kept elsewhere, and its public half."""

    @property
    def key(self) -> VerifierKey:
        """What verifies the signatures."""

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature (RFC 8032, pure) of *message*."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A text that was signed, verified."""

    text: str
    """With its final newline."""

    signed_by: tuple[VerifierKey, ...]
    """Keys whose signature verified: at least one, each once, in the note's order."""

    unknown: int
    """How many different signatures by other keys were ignored. They prove nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a log says of itself at one size. Refused with ``NoteError`` if it cannot be written."""

    origin: str
    """The log's identity, one line; in a signed checkpoint also the name of its key."""

    size: int
    """Number of leaves, below 2^64."""

    root: bytes
    """RFC 6962 root hash at that size, 32 bytes."""

    extension: tuple[str, ...] = ()
    """Further lines, none empty."""

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extension):
            if not _is_line(line):
                raise NoteError(f"checkpoint: expected one line of text without controls, found {line!r}")
        if not 0 <= self.size < 1 << 64:
            raise NoteError(f"checkpoint {self.origin}: expected a size below 2^64, found {self.size}")
        if len(self.root) != 32:
            raise NoteError(f"checkpoint {self.origin}: expected a root of 32 bytes, found {len(self.root)}")

    def text(self) -> str:
        """The note text: origin, size, root, extension lines, each with a newline."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extension))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint whose ``text()`` is exactly *text*. Nothing is verified.

        Raises:
            NoteError: fewer than three lines, an empty one, or a size or root in another form.
        """
        lines = text.split("\n")
        if lines.pop() or len(lines) < 3:
            raise NoteError(f"checkpoint: expected three lines or more with newlines, found {text[:100]!r}")
        origin, size, encoded, *extension = lines
        root = _decode_base64(encoded)
        if not _SIZE.fullmatch(size):
            raise NoteError(f"checkpoint: expected a size in decimal digits, found {size[:100]!r}")
        if root is None:
            raise NoteError(f"checkpoint: expected a root hash in base64, found {encoded[:100]!r}")
        return cls(origin=origin, size=int(size), root=root, extension=tuple(extension))


def fingerprint(key: VerifierKey) -> str:
    """SHA-256 of the *key* with its name, 16 groups of 4 hexadecimal digits, for people to compare.

    The first two groups are the key ID. Those alone are no proof: another key with them is quickly found.
    """
    digits = _digest(key.name, key.public).hex()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def sign(text: str, signers: Sequence[Signer]) -> bytes:
    """The note of *text*, with one signature line by each of *signers*, in order.

    Args:
        text: ends in a newline; see rule 1.
        signers: at least one, each key once.

    Raises:
        NoteError: the note would be malformed, or a signer's signature does not fit its key.
    """
    keys = [signer.key for signer in signers]
    if not keys or len(set(keys)) != len(keys):
        raise NoteError(f"expected one signer or more, each key once, found {len(keys)}")
    if not text.endswith("\n"):
        raise NoteError("expected a text that ends in a newline")
    message = _encode_utf8(text)
    data = message + b"\n" + b"".join(_signature_line(signer, message) for signer in signers)
    open_note(data, keys)
    return data


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> Note:
    """The note in *data*, verified with *keys* (rules 1 to 4; steps 1 to 4).

    Raises:
        NoteError: it is malformed, a signature by one of *keys* does not verify, or none of them signed;
            or two different keys among *keys* share name and ID.
    """
    # 1. Each name and ID is one key.
    known = _known(keys)
    # 2. The note is well-formed, ignored signatures included.
    text, lines = _split(data)
    signatures = [_parse_signature(number, line) for number, line in enumerate(lines, 1)]
    # 3. Every signature by a known key verifies.
    signed_by: dict[VerifierKey, None] = {}
    unknown = set()
    for identity, signature in signatures:
        if identity in known:
            _verify(known[identity], text.encode(), signature)
            signed_by[known[identity]] = None
        else:
            unknown.add((identity, signature))
    # 4. There is at least one.
    if not signed_by:
        raise NoteError(f"none of the {len(lines)} signatures is by one of the {len(known)} known keys")
    return Note(text=text, signed_by=tuple(signed_by), unknown=len(unknown))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """The *checkpoint* as a note; one of *signers* has its origin as name.

    Raises:
        NoteError: none of them has, or as ``sign``.
    """
    _check_origin(checkpoint, [signer.key for signer in signers])
    return sign(checkpoint.text(), signers)


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, Note]:
    """The checkpoint in the note *data*, and the note, verified with *keys*.

    Raises:
        NoteError: as ``open_note``; the text is no checkpoint; or no verified key has its origin as name.
    """
    note = open_note(data, keys)
    checkpoint = Checkpoint.parse(note.text)
    _check_origin(checkpoint, note.signed_by)
    return checkpoint, note


def _check_origin(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> None:
    if checkpoint.origin not in {key.name for key in keys}:
        names = ", ".join(key.name for key in keys)
        raise NoteError(f"checkpoint: expected a signature by {checkpoint.origin!r}, found {names or 'none'}")


def _known(keys: Sequence[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise NoteError(f"two different keys are {key.name}+{key.key_id.hex()}")
    return known


def _split(data: bytes) -> tuple[str, list[str]]:
    """Text and signature lines of a note."""
    if len(data) > MAX_BYTES:
        raise NoteError(f"note: expected at most {MAX_BYTES} bytes, found {len(data)}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError(f"note, byte {error.start}: expected UTF-8") from None
    if control := _CONTROL.search(whole):
        raise NoteError(f"note: expected no control characters, found {control[0]!r}")
    text, blank, end = whole.rpartition("\n\n")
    if not blank or not end.endswith("\n"):
        raise NoteError("note: expected a text, an empty line, and signature lines that end in newlines")
    lines = end.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"note: expected at most {MAX_SIGNATURES} signatures, found {len(lines)}")
    return text + "\n", lines


def _parse_signature(number: int, line: str) -> tuple[tuple[str, bytes], bytes]:
    """Name and ID of the key, and the signature."""
    dash, name, encoded = parts if len(parts := line.split(" ")) == 3 else ("", "", "")
    raw = _decode_base64(encoded)
    if dash != "—" or not _is_name(name) or raw is None or len(raw) < 5:
        raise NoteError(f"signature {number}: expected '— name base64', found {line[:100]!r}")
    return (name, raw[:4]), raw[4:]


def _verify(key: VerifierKey, message: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        identity = f"{key.name}+{key.key_id.hex()}"
        raise NoteError(f"the signature by {identity} does not verify: text or signature changed") from None


def _signature_line(signer: Signer, message: bytes) -> bytes:
    signature = base64.b64encode(signer.key.key_id + signer.sign(message)).decode()
    return f"— {signer.key.name} {signature}\n".encode()


def _digest(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()


def _is_name(name: str) -> bool:
    return _is_line(name) and "+" not in name and not any(character.isspace() for character in name)


def _is_line(line: str) -> bool:
    """Whether *line* can stand in a note: not empty, no newline or control character, Unicode text."""
    if not line or "\n" in line or _CONTROL.search(line):
        return False
    return not any("\ud800" <= character <= "\udfff" for character in line)


def _encode_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NoteError(f"note, character {error.start}: expected Unicode text") from None


def _decode_base64(text: str) -> bytes | None:
    """The bytes that encode to exactly *text*, if there are any (RFC 4648, section 4)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode() == text else None
