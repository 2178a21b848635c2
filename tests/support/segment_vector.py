"""Makes ``tests/vectors/segment-1.json`` with the independent code: once; the file is frozen.

    python -m tests.support.segment_vector > tests/vectors/segment-1.json

Only AES is borrowed (from ``cryptography``, block by block); hashes, trees, VRF and signatures are not.
"""

import base64
import hashlib
import hmac
import json
import sys
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support import independent_note as note
from tests.support import independent_vrf as vrf
from tests.support.independent_proof import audit_path, leaf, sha256, tree, u64

ABOUT = (
    "A small sealed segment of the dataset notes, its place in the ledger, and proofs; built without this "
    "project's code (tests/support/segment_vector.py). Secrets are fixed; every binary value is hexadecimal. "
    "Lines are without line feeds, in the segment's order; 'journal' holds the rows as they were written. "
    "'plain' and 'file' in the manifest are not those of a file: there is none here."
)
SECRET, FILE_ID = bytes(range(32)), bytes(range(32, 64))
VRF_SEED, SIGNING_SEED = bytes(range(64, 96)), bytes(range(96, 128))
STORE = "00112233445566778899aabbccddeeff"
ORIGIN = f"applog/{STORE}"
NOON = 1_772_366_400_000_000
TEXTS = {1: "other", 4: "ผู้ใช้", 11: "other", 21: "other", 31: "other", 40: "alone"}
"""Of the journal's rows; the others are of \"main\"."""
PROVED = (0, 1, 32, 33, 35, 36, 39, 40)


def make() -> dict[str, Any]:
    """The whole vector."""
    public, secret = _key(VRF_SEED)
    written = [_written(at) for at in range(41)]
    found = {text: _subject(text, public, secret) for text in dict.fromkeys(one["text"] for one in written)}
    written.sort(key=lambda one: (found[one["text"]]["tag"], one["time"], one["line"].encode()))
    rows = [_row(at, one) for at, one in enumerate(written)]
    subjects = sorted(found.values(), key=lambda one: str(one["tag"]))
    blocks = _grow(subjects, rows, [found[one["text"]] for one in written])
    root = tree([bytes.fromhex(one["leaf"]) for one in subjects]).hex()
    ledger = _ledger(_manifest(root, subjects), public)
    return {
        "format": 1,
        "about": ABOUT,
        "dataset": "notes",
        "schema": 1,
        "S": SECRET.hex(),
        "file_id": FILE_ID.hex(),
        "vrf_seed": VRF_SEED.hex(),
        "vrf_public": public.hex(),
        "journal": [_written(at) for at in range(41)],
        "subjects": subjects,
        "rows": rows,
        "blocks": blocks,
        "root": root,
        **ledger,
        "row_proofs": [
            _proof(row, rows, subjects, [found[one["text"]] for one in written]) for row in PROVED
        ],
    }


def _written(at: int) -> dict[str, Any]:
    """Row *at* of the journal: some times are those of the row before, so that lines decide."""
    text, time = TEXTS.get(at, "main"), NOON + at // 6 * 1_000_001
    stamp = f"2026-03-01T12:00:{at // 6:02d}.{at // 6:06d}Z"
    line = (
        f'{{"@timestamp":"{stamp}","event.ingested":"2026-03-01T12:01:00.000000Z","event.id":"pen.1.{at}",'
        f'"event.dataset":"notes","event.schema":1,"message":"{text}","note.number":{at - 20}}}'
    )
    return {"text": text, "number": at - 20, "time": time, "line": line}


def _key(seed: bytes) -> tuple[bytes, int]:
    """Public key and secret scalar of an Ed25519 seed (RFC 8032 5.1.5)."""
    low = bytearray(hashlib.sha512(seed).digest()[:32])
    low[0] &= 248
    low[31] = low[31] & 127 | 64
    secret = int.from_bytes(low, "little")
    return vrf.encode(vrf.multiply(secret, vrf.BASE)), secret


def _subject(text: str, public: bytes, secret: int) -> dict[str, Any]:
    raw = text.encode()
    subject = b"source" + len(raw).to_bytes(2, "big") + raw
    pi = _prove(subject, public, secret)
    beta = vrf.verify(public, subject, pi)
    index = hmac.digest(SECRET, b"\x06", "sha256")
    return {
        "subject": subject.hex(),
        "pi": pi.hex(),
        "beta": beta.hex(),
        "tag": sha256(b"\x02" + FILE_ID + beta).hex(),
        "lookup": hmac.digest(index, subject, "sha256")[:16].hex(),
    }


def _prove(alpha: bytes, public: bytes, secret: int) -> bytes:
    """RFC 9381 5.1, with the nonce of 5.4.2.2."""
    point = vrf.encode_to_curve(public, alpha)
    gamma = vrf.encode(vrf.multiply(secret, point))
    seed = hashlib.sha512(VRF_SEED).digest()[32:]
    k = int.from_bytes(hashlib.sha512(seed + vrf.encode(point)).digest(), "little") % vrf.Q
    u, v = vrf.encode(vrf.multiply(k, vrf.BASE)), vrf.encode(vrf.multiply(k, point))
    c = vrf.challenge(public, vrf.encode(point), gamma, u, v)
    return gamma + c + ((k + int.from_bytes(c, "little") * secret) % vrf.Q).to_bytes(32, "little")


def _row(at: int, written: dict[str, Any]) -> dict[str, Any]:
    key = hmac.digest(SECRET, b"\x03", "sha256")
    salt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(at.to_bytes(16, "big"))  # noqa: S305
    body = sha256(b"\x04" + salt + written["line"].encode())
    return {
        "line": written["line"],
        "time": written["time"],
        "salt": salt.hex(),
        "body": body.hex(),
        "leaf": leaf(u64(written["time"]) + body).hex(),
    }


def _grow(
    subjects: list[dict[str, Any]], rows: list[dict[str, Any]], owners: list[dict[str, Any]]
) -> list[str]:
    """Add count, root and leaf to each of *subjects*; the blocks of all of them."""
    blocks = []
    for one in subjects:
        own = _leaves_of(one, rows, owners)
        one["count"], one["root"] = len(own), tree(own).hex()
        one["leaf"] = leaf(bytes.fromhex(one["tag"]) + sha256(b"\x05" + u64(len(own)) + tree(own))).hex()
        blocks += [tree(own[at : at + 32]).hex() for at in range(0, len(own), 32)]
    return blocks


def _leaves_of(
    subject: dict[str, Any], rows: list[dict[str, Any]], owners: list[dict[str, Any]]
) -> list[bytes]:
    return [bytes.fromhex(row["leaf"]) for row, owner in zip(rows, owners, strict=True) if owner is subject]


def _manifest(root: str, subjects: list[dict[str, Any]]) -> str:
    digest, iso = hashlib.sha256(b"not a file").hexdigest(), "2026-03-01T12:0{}:00.000000Z"
    journal = {"writer": "pen", "first": 1, "last": 1, "after": "0" * 64, "frames": 1, "head": digest}
    return _compact(
        {
            "format": 1,
            "dataset": "notes",
            "sequence": 0,
            "kind": "live",
            "schema": 1,
            "encoder": 1,
            "subject_rule": 1,
            "day": "2026-03-01",
            "epoch": 0,
            "from": iso.format(0),
            "until": iso.format(2),
            "count": 41,
            "subjects": len(subjects),
            "first": iso.format(0),
            "last": "2026-03-01T12:00:06.000006Z",
            "file_id": FILE_ID.hex(),
            "root": root,
            "plain": digest,
            "file": digest,
            "bytes": 10,
            "journals": [journal],
            "sealed": iso.format(2),
            "clock": "unconfirmed",
            "by": "vector",
        }
    )


def _ledger(manifest: str, vrf_public: bytes) -> dict[str, Any]:
    """Entries, checkpoint, and the proof that leads from the manifest to it."""
    public, _ = _key(SIGNING_SEED)
    raw = b"\x01" + public
    key_id = sha256(ORIGIN.encode() + b"\n" + raw)[:4]
    verifier = f"{ORIGIN}+{key_id.hex()}+{_base64(raw)}"
    entries = [_compact(entry) for entry in _entries(verifier, vrf_public, leaf(manifest.encode()).hex())]
    leaves = [leaf(entry.encode()) for entry in entries]
    text = f"{ORIGIN}\n{len(leaves)}\n{_base64(tree(leaves))}\n"
    signature = _base64(key_id + _signature(text.encode()))
    checkpoint = f"{text}\n— {ORIGIN} {signature}\n"
    proof = {
        "manifest": manifest,
        "dataset": [1, ""],
        "heads": entries[-1],
        "ledger": _base64(b"".join(audit_path(leaves, len(leaves) - 1))),
        "checkpoint": checkpoint,
    }
    return {
        "manifest": manifest,
        "signing_seed": SIGNING_SEED.hex(),
        "verifier_key": verifier,
        "store_id": STORE,
        "entries": entries,
        "checkpoint": checkpoint,
        "ledger_proof": _compact(proof),
    }


def _entries(verifier: str, vrf_public: bytes, manifest: str) -> list[dict[str, Any]]:
    time = "2026-03-01T12:02:00.000000Z"
    return [
        {"type": "key", "time": time, "action": "signing", "key": verifier, "store": STORE},
        {"type": "heads", "time": time, "confirmed": None, "datasets": {}, "journals": []},
        {
            "type": "key",
            "time": time,
            "action": "vrf",
            "dataset": "notes",
            "day": "2026-03-01",
            "public": vrf_public.hex(),
        },
        {"type": "sealed", "time": time, "dataset": "notes", "sequence": 0, "manifest": manifest},
        {
            "type": "heads",
            "time": time,
            "confirmed": None,
            "datasets": {"notes": [1, manifest]},
            "journals": [],
        },
    ]


def _signature(message: bytes) -> bytes:
    """RFC 8032 5.1.6."""
    public, secret = _key(SIGNING_SEED)
    prefix = hashlib.sha512(SIGNING_SEED).digest()[32:]
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % note.L
    point = note.encode_point(note.multiply(r, note.BASE))
    k = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % note.L
    return point + ((r + k * secret) % note.L).to_bytes(32, "little")


def _proof(
    row: int, rows: list[dict[str, Any]], subjects: list[dict[str, Any]], owners: list[dict[str, Any]]
) -> str:
    owner = owners[row]
    own = _leaves_of(owner, rows, owners)
    place, index = row - owners.index(owner), subjects.index(owner)
    above = audit_path([bytes.fromhex(one["leaf"]) for one in subjects], index)
    return _compact(
        {
            "format": 1,
            "segment": ["notes", 0],
            "row": row,
            "salt": _base64(bytes.fromhex(rows[row]["salt"])),
            "time": rows[row]["time"],
            "rows": [place, len(own), _base64(b"".join(audit_path(own, place)))],
            "tag": _base64(bytes.fromhex(owner["tag"])),
            "subjects": [index, len(subjects), _base64(b"".join(above))],
        }
    )


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    json.dump(make(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
