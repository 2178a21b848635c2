"""Signed notes: what others signed verifies, what anyone changed does not, and a second verifier agrees."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.errors import NoteError
from retention.note import (
    MAX_BYTES,
    Checkpoint,
    Note,
    VerifierKey,
    fingerprint,
    open_checkpoint,
    open_note,
    sign,
    sign_checkpoint,
)
from tests.support import independent_note
from tests.support.independent_note import RefusedError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "note.json").read_text(encoding="utf-8"))
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SUM = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def by_name(vectors: list[dict[str, Any]]) -> list[Any]:
    """Each vector as a parameter with its name."""
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


@dataclass(frozen=True)
class Pen:
    """A signer whose private key lies in the open; *answer* may spoil its signatures."""

    key: VerifierKey
    private: Ed25519PrivateKey
    answer: Callable[[bytes], bytes] = bytes

    def sign(self, message: bytes) -> bytes:
        """As ``Signer``."""
        return self.answer(self.private.sign(message))


def pen(name: str, seed: bytes = b"") -> Pen:
    """The signer *name*; its seed follows from its name unless given."""
    private = Ed25519PrivateKey.from_private_bytes(seed or hashlib.sha256(name.encode()).digest())
    return Pen(VerifierKey.of(name, private.public_key().public_bytes_raw()), private)


LOG, WITNESS, STRANGER = pen("log.example/ก"), pen("witness.example"), pen("stranger.example")
HEAD = Checkpoint(origin=LOG.key.name, size=7, root=bytes(range(32)))
TEXT = "One line,\n\nand another after an empty one.\n"
NOTE = sign(TEXT, [LOG])
LINE = NOTE[len(TEXT.encode()) + 1 :]


def line(name: str, raw: bytes) -> bytes:
    """A signature line by hand."""
    return f"— {name} {base64.b64encode(raw).decode()}\n".encode()


def opened_by_both(data: bytes, *keys: VerifierKey) -> Note:
    """The note, after both verifiers said the same of it."""
    note = open_note(data, keys)
    second = independent_note.open_note(data, [str(key) for key in keys])
    assert (note.text, [str(key) for key in note.signed_by], note.unknown) == second
    return note


def refused_by_both(data: bytes, *keys: VerifierKey) -> None:
    """Neither verifier opens the note."""
    with pytest.raises(NoteError):
        open_note(data, keys)
    with pytest.raises(RefusedError):
        independent_note.open_note(data, [str(key) for key in keys])


@pytest.mark.parametrize("vector", by_name(VECTORS["notes"]))
def test_notes_of_others_open(vector: dict[str, Any]) -> None:
    """What the specification, Go's tests and sum.golang.org signed verifies, in both verifiers."""
    keys = [VerifierKey.parse(key) for key in vector["keys"]]

    note = opened_by_both(vector["note"].encode(), *keys)

    assert note.text == vector["text"]
    assert note.signed_by == tuple(keys[at] for at in vector["signed_by"])
    assert note.unknown == vector["unknown"]


@pytest.mark.parametrize("vector", VECTORS["ed25519"], ids=lambda vector: vector["source"])
def test_the_second_verifier_knows_ed25519(vector: dict[str, str]) -> None:
    """The judge is judged first: RFC 8032's signatures verify, and no longer with one bit changed."""
    public, message, signature = (bytes.fromhex(vector[part]) for part in ("public", "message", "signature"))

    assert independent_note.verifies(public, message, signature)
    assert not independent_note.verifies(public, message + b"\0", signature)
    assert not independent_note.verifies(public, message, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not independent_note.verifies(public[:-1] + bytes([public[-1] ^ 128]), message, signature)


def test_go_and_we_sign_the_same_bytes() -> None:
    """With the private key of Go's tests, our note is the one Go makes, byte for byte."""
    vector = next(vector for vector in VECTORS["notes"] if vector["name"] == "go-one-signature")
    peter = pen(VECTORS["signer"]["name"], bytes.fromhex(VECTORS["signer"]["seed"]))

    data = sign(vector["text"], [peter])

    assert data == vector["note"].encode()
    assert str(peter.key) == PETER


@pytest.mark.parametrize("key", sorted({key for vector in VECTORS["notes"] for key in vector["keys"]}))
def test_a_verifier_key_reads_and_writes(key: str) -> None:
    """The text of a key parses, gives itself back, and states the ID that follows from name and key."""
    parsed = VerifierKey.parse(key)

    assert str(parsed) == key
    assert parsed == VerifierKey.of(parsed.name, parsed.public)
    assert independent_note.read_key(key) == (parsed.name, parsed.key_id.hex(), parsed.public)


def test_a_mangled_key_is_refused() -> None:
    """No part of a key is a key, nor is it one with any byte raised by one (Go's TestNewVerifier)."""
    length = len(PETER)
    parts = [PETER[a:b] for a in range(length) for b in range(a, length + 1) if (a, b) != (0, length)]
    raised = [PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(length)]

    for mangled in parts + raised:
        with pytest.raises(NoteError):
            VerifierKey.parse(mangled)
        with pytest.raises(RefusedError):
            independent_note.read_key(mangled)


@pytest.mark.parametrize(
    "key",
    [
        *(pytest.param(vector["key"], id=vector["name"]) for vector in VECTORS["bad_keys"]),
        pytest.param(PETER.replace("c74f20a3", "C74F20A3"), id="upper-case"),
        pytest.param(PETER.replace("c74f20a3", "c74f20a4"), id="another-hash"),
        pytest.param(PETER + "\n", id="newline"),
        pytest.param(PETER + "=", id="padding"),
        pytest.param("ก" * 8 + PETER[PETER.index("+") :], id="another-name"),
        pytest.param(PETER.replace("c74f20a3", "c74f20aก"), id="hash-not-ascii"),
        pytest.param(PETER[:-1] + "ก", id="base64-not-ascii"),
        pytest.param("\ud800+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", id="surrogate"),
    ],
)
def test_what_is_no_ed25519_key_is_refused(key: str) -> None:
    """Another hash, length, type or spelling is refused by both verifiers."""
    with pytest.raises(NoteError):
        VerifierKey.parse(key)
    with pytest.raises(RefusedError):
        independent_note.read_key(key)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\x01", "a\u00a0b", "a\u2028", "a\u3000", "\ud800"]
)
def test_a_name_that_would_break_a_line_is_refused(name: str) -> None:
    """Spaces of any script, plus, control characters and half characters are in no key's name."""
    with pytest.raises(NoteError, match="expected a key name"):
        VerifierKey.of(name, LOG.key.public)
    with pytest.raises(NoteError, match="expected a key name"):
        VerifierKey(name=name, key_id=bytes(4), public=LOG.key.public)


def test_a_key_of_another_length_is_refused() -> None:
    """A public key has 32 bytes; the message says how many were found."""
    with pytest.raises(NoteError, match="expected 32 bytes, found 31"):
        VerifierKey.of("short.example", bytes(31))


def test_a_key_with_the_id_of_another_is_refused() -> None:
    """No key can be made whose ID does not follow from its name and its bytes."""
    with pytest.raises(NoteError, match="but its ID is"):
        VerifierKey(name=WITNESS.key.name, key_id=LOG.key.key_id, public=WITNESS.key.public)


def test_a_fingerprint_is_the_whole_hash() -> None:
    """64 digits in groups of 4, the key ID first, so that two people can compare all of it."""
    digest = hashlib.sha256(b"sum.golang.org\n" + base64.b64decode(SUM.split("+", 2)[2])).hexdigest()

    shown = fingerprint(VerifierKey.parse(SUM))

    assert shown.startswith("033d e0ae ")
    assert [len(group) for group in shown.split(" ")] == [4] * 16
    assert shown.replace(" ", "") == digest


MALFORMED = {
    "empty": b"",
    "text-only": TEXT.encode(),
    "no-signature": TEXT.encode() + b"\n",
    "signature-only": LINE,
    "no-text": b"\n" + LINE,
    "no-empty-line": TEXT.replace("\n\n", "\n").encode() + LINE,
    "two-empty-lines": TEXT.encode() + b"\n\n" + LINE,
    "no-last-newline": NOTE[:-1],
    "newline-more": NOTE + b"\n",
    "line-after": NOTE + b"Unexpected line.\n",
    "line-between": TEXT.encode() + b"\nUnexpected line.\n" + LINE,
    "empty-line-between": NOTE + b"\n" + line("x", bytes(68)),
    "crlf": NOTE.replace(b"\n", b"\r\n"),
    "tab": b"\t" + NOTE,
    "nul": b"\x00" + NOTE,
    "control-in-signature": NOTE[:-1] + b"\x1f\n",
    "byte-order-mark": b"\xef\xbb\xbf" + NOTE,
    "not-utf-8": b"\xff" + NOTE,
    "overlong-utf-8": b"\xc0\x8a" + NOTE,
    "surrogate": b"\xed\xa0\x80" + NOTE,
    "hyphen": NOTE.replace("—".encode(), b"-"),
    "en-dash": NOTE.replace("—".encode(), "–".encode()),
    "no-dash": NOTE.replace("— ".encode(), b""),
    "two-spaces": NOTE.replace("— ".encode(), "—  ".encode()),
    "no-break-space": NOTE.replace("— ".encode(), "—\u00a0".encode()),
    "space-at-end": NOTE[:-1] + b" \n",
    "name-with-space": NOTE + line("bad name", bytes(68)),
    "name-with-wide-space": NOTE + line("bad\u3000name", bytes(68)),
    "name-with-plus": NOTE + line("bad+name", bytes(68)),
    "name-missing": NOTE + line("", bytes(68)),
    "base64-missing": NOTE + "— x \n".encode(),
    "base64-unpadded": NOTE.replace(b"=\n", b"\n"),
    "base64-padded-twice": NOTE.replace(b"=\n", b"==\n"),
    "base64-url": NOTE + "— x ________\n".encode(),
    "base64-spare-bits": NOTE + "— x AAAAAAB=\n".encode(),
    "base64-not-ascii": NOTE + "— x กกกกกกกก\n".encode(),
    "base64-with-text-behind": NOTE[:-1] + b" more\n",
    "no-key-id": NOTE + line("x", bytes(3)),
    "only-key-id": NOTE + line("x", bytes(4)),
    "101-signatures": TEXT.encode() + b"\n" + LINE * 101,
    "101-unknown": NOTE + line("x", bytes(68)) * 100,
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in MALFORMED.items()])
def test_a_malformed_note_is_refused(data: bytes) -> None:
    """Whatever is not exactly the form of a note is refused by both verifiers, whoever signed it."""
    refused_by_both(data, LOG.key)


def test_the_length_of_a_note_is_bounded() -> None:
    """A million bytes open, one more is refused although its signature is right."""
    fill = MAX_BYTES - len(LINE) - 2
    longest = sign("a" * fill + "\n", [LOG])
    body = "a" * (fill + 1) + "\n"
    longer = body.encode() + b"\n" + line(LOG.key.name, LOG.key.key_id + LOG.sign(body.encode()))

    opened_by_both(longest, LOG.key)
    refused_by_both(longer, LOG.key)

    assert (len(longest), len(longer)) == (MAX_BYTES, MAX_BYTES + 1)


@pytest.mark.parametrize(
    "text",
    ["\n", "\n\n\n", TEXT, "— like a signature\n", "\n— x AAAAAAAA\n", "\x7f\x85\u2028\ufeff\U0010ffff\n"],
    ids=["newline", "newlines", "empty-lines", "dash", "signature", "not-ascii-controls"],
)
def test_what_the_specification_allows_opens(text: str) -> None:
    """Empty lines and lines like signatures belong to the text; only ASCII controls are forbidden."""
    data = sign(text, [LOG])

    note = opened_by_both(data, LOG.key)

    assert note == Note(text=text, signed_by=(LOG.key,), unknown=0)


def test_every_signer_is_named() -> None:
    """Several signatures give their keys in the note's order, whatever order the keys were given in."""
    data = sign(TEXT, [WITNESS, LOG, STRANGER])

    note = opened_by_both(data, LOG.key, WITNESS.key)

    assert note.signed_by == (WITNESS.key, LOG.key)
    assert note.unknown == 1


def test_a_hundred_signatures_are_read() -> None:
    """The bound is 100; a key that signed often counts once, an unknown signature that is repeated too."""
    data = TEXT.encode() + b"\n" + LINE * 50 + line("x", bytes(68)) * 50

    note = opened_by_both(data, LOG.key)

    assert note == Note(text=TEXT, signed_by=(LOG.key,), unknown=1)


@pytest.mark.parametrize(
    "other",
    [
        line(LOG.key.name, b"\x00\x01\x02\x03" + bytes(64)),
        line("another.example", LOG.key.key_id + bytes(64)),
        line("long.example", bytes(5000)),
        line("short.example", bytes(5)),
    ],
    ids=["same-name", "same-id", "post-quantum", "short"],
)
def test_a_signature_by_an_unknown_key_is_ignored(other: bytes) -> None:
    """Sharing name or ID with a known key makes no signature a known one, before it or behind it."""
    before = opened_by_both(TEXT.encode() + b"\n" + other + LINE, LOG.key)
    behind = opened_by_both(NOTE + other, LOG.key)

    assert before == behind == Note(text=TEXT, signed_by=(LOG.key,), unknown=1)


@pytest.mark.parametrize("keys", [[], [STRANGER.key]], ids=["no-key", "another-key"])
def test_a_note_that_nobody_known_signed_is_refused(keys: list[VerifierKey]) -> None:
    """Without a signature by a known key the text is not given out."""
    refused_by_both(sign(TEXT, [LOG, WITNESS]), *keys)


def test_a_false_signature_refuses_the_whole_note() -> None:
    """A known key's signature that does not verify is refused beside right ones, its own included."""
    false = line(WITNESS.key.name, WITNESS.key.key_id + WITNESS.sign(b"another text\n"))

    refused_by_both(NOTE + false, LOG.key, WITNESS.key)
    refused_by_both(sign(TEXT, [LOG, WITNESS]) + false, LOG.key, WITNESS.key)
    note = opened_by_both(NOTE + false, LOG.key)

    assert note == Note(text=TEXT, signed_by=(LOG.key,), unknown=1)


@pytest.mark.parametrize("length", [1, 63, 65, 68])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    """An Ed25519 signature has 64 bytes; a longer one that begins rightly is none."""
    raw = LOG.key.key_id + (LOG.sign(TEXT.encode()) + bytes(4))[:length]

    refused_by_both(TEXT.encode() + b"\n" + line(LOG.key.name, raw), LOG.key)


def test_a_second_form_of_a_signature_is_refused() -> None:
    """S + L is the same number to the curve, but not a signature (RFC 8032, 5.1.7)."""
    signature = LOG.sign(TEXT.encode())
    raised = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    other = signature[:32] + raised.to_bytes(32, "little")

    refused_by_both(TEXT.encode() + b"\n" + line(LOG.key.name, LOG.key.key_id + other), LOG.key)


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    """32 bytes that decode to no point of the curve are a key no signature fits; nothing else is raised."""
    key = next(
        VerifierKey.of("nowhere.example", bytes([first]) + bytes(31))
        for first in range(2, 256)
        if independent_note.decode_point(bytes([first]) + bytes(31)) is None
    )

    refused_by_both(NOTE + line(key.name, key.key_id + bytes(64)), LOG.key, key)


def test_keys_that_share_name_and_id_are_refused() -> None:
    """Two different keys behind one identity are ambiguous; the same key twice is not."""
    first, second = (VerifierKey.of("twin.example", n.to_bytes(32, "little")) for n in (16509, 73044))
    assert first.key_id == second.key_id

    with pytest.raises(NoteError, match=r"two different keys are twin\.example\+7d652eb9"):
        open_note(NOTE, [LOG.key, first, second])
    note = open_note(NOTE, [LOG.key, LOG.key])

    assert note.signed_by == (LOG.key,)


@pytest.mark.parametrize(
    ("text", "signers"),
    [
        ("", [LOG]),
        ("no newline", [LOG]),
        ("tab\t\n", [LOG]),
        ("carriage return\r\n", [LOG]),
        ("half a character \ud800\n", [LOG]),
        ("a" * MAX_BYTES + "\n", [LOG]),
        (TEXT, []),
        (TEXT, [LOG, LOG]),
        (TEXT, [pen(f"{number}.example") for number in range(101)]),
        (TEXT, [Pen(WITNESS.key, LOG.private)]),
        (TEXT, [Pen(LOG.key, LOG.private, lambda signature: signature[:63])]),
        (TEXT, [Pen(LOG.key, LOG.private, lambda _: b"")]),
    ],
    ids=[
        *("empty", "no-newline", "tab", "carriage-return", "surrogate", "too-long"),
        *("nobody", "twice", "too-many", "another-key", "short-signature", "no-signature"),
    ],
)
def test_what_could_not_be_opened_is_not_signed(text: str, signers: list[Pen]) -> None:
    """A malformed text, too many or no signers, or a signature that does not fit its key: no note."""
    with pytest.raises(NoteError):
        sign(text, signers)


@pytest.mark.parametrize("vector", by_name(VECTORS["checkpoints"]))
def test_checkpoints_of_others_parse(vector: dict[str, Any]) -> None:
    """The checkpoints of the specification and of sum.golang.org give origin, size and root."""
    checkpoint = Checkpoint.parse(vector["text"])

    assert checkpoint == Checkpoint(
        origin=vector["origin"], size=vector["size"], root=bytes.fromhex(vector["root"])
    )
    assert checkpoint.text() == vector["text"]
    assert independent_note.read_checkpoint(vector["text"]) == (
        *(checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.extension),
    )


def test_a_signed_checkpoint_opens() -> None:
    """What the log signs, with a witness or without, both verifiers read back."""
    checkpoint = Checkpoint(origin=LOG.key.name, size=2**64 - 1, root=bytes(32), extension=("a b", "— x"))

    data = sign_checkpoint(checkpoint, [WITNESS, LOG])

    assert open_checkpoint(data, [LOG.key]) == (checkpoint, opened_by_both(data, LOG.key))
    assert independent_note.open_checkpoint(data, [str(LOG.key)]) == (
        *(checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.extension),
    )


def test_a_checkpoint_needs_its_own_log() -> None:
    """A known witness alone vouches for no checkpoint, neither when signing nor when opening."""
    data = sign_checkpoint(HEAD, [LOG, WITNESS])

    with pytest.raises(NoteError, match="expected a signature by 'log"):
        open_checkpoint(data, [WITNESS.key])
    with pytest.raises(RefusedError, match="origin"):
        independent_note.open_checkpoint(data, [str(WITNESS.key)])
    with pytest.raises(NoteError, match=r"found witness\.example"):
        sign_checkpoint(HEAD, [WITNESS])
    with pytest.raises(NoteError, match="found none"):
        sign_checkpoint(HEAD, [])


def test_sum_golang_org_names_its_origin_otherwise() -> None:
    """Go's checksum database signs as another name than its origin: a note to us, not a checkpoint."""
    data = next(vector for vector in VECTORS["notes"] if vector["name"] == "sum.golang.org")["note"].encode()

    with pytest.raises(NoteError, match=r"by 'go\.sum database tree'"):
        open_checkpoint(data, [VerifierKey.parse(SUM)])
    with pytest.raises(RefusedError, match="origin"):
        independent_note.open_checkpoint(data, [SUM])


ROOT = base64.b64encode(bytes(range(32))).decode()
NOT_CHECKPOINTS = {
    "two-lines": "log.example\n7\n",
    "no-last-newline": f"log.example\n7\n{ROOT}",
    "empty-origin": f"\n7\n{ROOT}\n",
    "empty-size": f"log.example\n\n{ROOT}\n",
    "empty-root": "log.example\n7\n\n",
    "empty-extension": f"log.example\n7\n{ROOT}\n\n",
    "empty-line-in-extension": f"log.example\n7\n{ROOT}\na\n\nb\n",
    "leading-zero": f"log.example\n07\n{ROOT}\n",
    "two-zeros": f"log.example\n00\n{ROOT}\n",
    "minus": f"log.example\n-7\n{ROOT}\n",
    "plus": f"log.example\n+7\n{ROOT}\n",
    "underscore": f"log.example\n1_0\n{ROOT}\n",
    "thai-digit": f"log.example\n๗\n{ROOT}\n",
    "hexadecimal": f"log.example\n0x7\n{ROOT}\n",
    "space-before": f"log.example\n 7\n{ROOT}\n",
    "space-behind": f"log.example\n7 \n{ROOT}\n",
    "too-large": f"log.example\n{2**64}\n{ROOT}\n",
    "5000-digits": f"log.example\n{'9' * 5000}\n{ROOT}\n",
    "root-unpadded": f"log.example\n7\n{ROOT.rstrip('=')}\n",
    "root-spare-bits": f"log.example\n7\n{ROOT[:-2]}9=\n",
    "root-31-bytes": f"log.example\n7\n{base64.b64encode(bytes(31)).decode()}\n",
    "root-33-bytes": f"log.example\n7\n{base64.b64encode(bytes(33)).decode()}\n",
    "root-hexadecimal": f"log.example\n7\n{bytes(32).hex()}\n",
    "root-with-space": f"log.example\n7\n{ROOT} \n",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in NOT_CHECKPOINTS.items()])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """There is one way to write a checkpoint; both verifiers refuse every other, also when signed."""
    with pytest.raises(NoteError, match="checkpoint"):
        Checkpoint.parse(text)
    with pytest.raises(RefusedError):
        independent_note.read_checkpoint(text)
    if text.endswith("\n"):
        data = sign(text, [pen("log.example")])
        with pytest.raises(NoteError, match="checkpoint"):
            open_checkpoint(data, [pen("log.example").key])
        with pytest.raises(RefusedError):
            independent_note.open_checkpoint(data, [str(pen("log.example").key)])


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"origin": "tab\t"},
        {"origin": "\udfff"},
        {"extension": ("",)},
        {"extension": ("fine", "not\nfine")},
        {"size": -1},
        {"size": 2**64},
        {"root": bytes(31)},
    ],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_written_cannot_be_made(fields: dict[str, Any]) -> None:
    """What ``text`` could not write so that ``parse`` reads it is refused at once."""
    with pytest.raises(NoteError, match="checkpoint"):
        replace(HEAD, **fields)


LINES = st.text(
    st.characters(codec="utf-8", exclude_characters=[chr(code) for code in range(32)]), min_size=1
)


@given(
    origin=LINES,
    size=st.integers(0, 2**64 - 1),
    root=st.binary(min_size=32, max_size=32),
    extension=st.lists(LINES, max_size=3),
)
@settings(deadline=None)
def test_a_checkpoint_reads_what_it_wrote(origin: str, size: int, root: bytes, extension: list[str]) -> None:
    """``parse(text())`` is the same checkpoint, whatever it says, and the second reader agrees."""
    checkpoint = Checkpoint(origin=origin, size=size, root=root, extension=tuple(extension))

    text = checkpoint.text()

    assert Checkpoint.parse(text) == checkpoint
    assert independent_note.read_checkpoint(text) == (origin, size, root, tuple(extension))


@given(text=st.text(st.characters(codec="utf-8", exclude_characters=[chr(code) for code in range(32)])))
@settings(max_examples=50, deadline=None)
def test_what_we_sign_both_open(text: str) -> None:
    """Any text without control characters comes back from both verifiers as it was signed."""
    data = sign(text + "\n", [LOG, STRANGER])

    note = opened_by_both(data, LOG.key)

    assert note == Note(text=text + "\n", signed_by=(LOG.key,), unknown=1)


SIGNED_HEAD = sign_checkpoint(HEAD, [LOG])


@given(at=st.integers(0, len(SIGNED_HEAD) - 1), mask=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_is_refused(at: int, mask: int) -> None:
    """One byte changed anywhere in a checkpoint's text, empty line or signature: both refuse it."""
    data = bytearray(SIGNED_HEAD + line("x", bytes(68)))
    data[at] ^= mask

    refused_by_both(bytes(data), LOG.key)


@given(at=st.integers(0, len(line("x", bytes(68))) - 1), mask=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_in_an_unknown_signature_changes_nothing_else(at: int, mask: int) -> None:
    """The exception: a line that is ignored may change into another such line, and no word with it."""
    data = bytearray(SIGNED_HEAD + line("x", bytes(68)))
    data[len(SIGNED_HEAD) + at] ^= mask

    try:
        checkpoint, note = open_checkpoint(bytes(data), [LOG.key])
    except NoteError:
        refused_by_both(bytes(data), LOG.key)
    else:
        assert (checkpoint, note.signed_by, note.unknown) == (HEAD, (LOG.key,), 1)
        opened_by_both(bytes(data), LOG.key)


def test_a_signature_less_is_still_a_note() -> None:
    """Rule 3's warning: without one of two signatures the note opens, and says who is left."""
    data = sign_checkpoint(HEAD, [WITNESS, LOG])
    witness = line(WITNESS.key.name, WITNESS.key.key_id + WITNESS.sign(HEAD.text().encode()))

    _, whole = open_checkpoint(data, [LOG.key, WITNESS.key])
    _, less = open_checkpoint(data.replace(witness, b""), [LOG.key, WITNESS.key])

    assert (whole.signed_by, less.signed_by) == ((WITNESS.key, LOG.key), (LOG.key,))


@given(data=st.binary(max_size=300), where=st.integers(0, len(SIGNED_HEAD)))
@settings(max_examples=300, deadline=None)
def test_no_other_error_leaves(data: bytes, where: int) -> None:
    """Whatever bytes come, alone or within a note: a note, or ``NoteError``; both verifiers alike."""
    for whole in (data, SIGNED_HEAD[:where] + data + SIGNED_HEAD[where:]):
        try:
            open_note(whole, [LOG.key])
        except NoteError:
            refused_by_both(whole, LOG.key)
        else:
            opened_by_both(whole, LOG.key)


@given(text=st.text())
@settings(max_examples=300, deadline=None)
def test_parsers_raise_only_note_errors(text: str) -> None:
    """Any text, half characters included, is a key, a checkpoint, or refused as ``NoteError``."""
    for parse in (VerifierKey.parse, Checkpoint.parse):
        for whole in (text, f"{text}+00000000+{ROOT}", f"{text}\n7\n{ROOT}\n{text}\n"):
            try:
                parsed = parse(whole)
            except NoteError:
                continue
            assert isinstance(parsed, Checkpoint)
            assert parsed.text() == whole
