"""Row proofs and subject tags a second time: standard library only, no code of the package.

Written from FORMAT.md 7.3, 7.5 and 9 and RFC 6962 (2.1, by its recursive definitions), as a stranger would.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.support import independent_vrf
from tests.support.independent_note import RefusedError, base64_exactly, open_checkpoint

HASH = 32
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
LINE = re.compile(r'\{"@timestamp":"([^"]*)"[,}]')
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

ROW = {
    "format": int,
    "segment": [str, int],
    "row": int,
    "salt": bytes,
    "time": int,
    "rows": [int, int, bytes],
    "tag": bytes,
    "subjects": [int, int, bytes],
}
LEDGER = {"manifest": str, "dataset": [int, bytes], "heads": str, "ledger": bytes, "checkpoint": str}


def verify_row(line: str, row_json: bytes, ledger_json: bytes | None, verifier_key: str) -> bytes:
    """The segment's root over *line*, held against the signed checkpoint if *ledger_json* is given.

    Raises:
        ValueError: it proves nothing; the message says what does not fit.
    """
    with place("row proof"):
        proof = members(row_json, ROW)
        require(proof["format"] == 1, "format")
        require(len(proof["salt"]) == 16 and len(proof["tag"]) == HASH, "length of salt or tag")
        stamp = LINE.match(line)
        require(stamp is not None and micros(stamp[1]) == proof["time"], "time is not the line's")
        body = sha256(b"\x04" + proof["salt"] + line.encode())
        index, count, path = proof["rows"]
        rows = climb(leaf(u64(proof["time"]) + body), index, count, hashes(path))
        inner = sha256(b"\x05" + u64(count) + rows)
        place_of, subjects, above = proof["subjects"]
        root = climb(leaf(proof["tag"] + inner), place_of, subjects, hashes(above))
    if ledger_json is not None:
        _verify_ledger(proof["segment"], subjects, root, ledger_json, verifier_key)
    return root


def _verify_ledger(segment: list[Any], subjects: int, root: bytes, data: bytes, verifier_key: str) -> None:
    with place("ledger proof"):
        proof = members(data, LEDGER)
        head = open_checkpoint(proof["checkpoint"].encode(), [verifier_key])
        entry = proof["heads"].encode()
        top = climb(leaf(entry), head.size - 1, head.size, hashes(proof["ledger"]))
        require(top == head.root, "heads are not the last entry under the checkpoint")
        manifest, heads = strict(proof["manifest"].encode()), strict(entry)
        require([manifest["dataset"], manifest["sequence"]] == segment, "manifest of another segment")
        require(manifest["root"] == root.hex(), "the row's path leads to another root than the manifest's")
        require(manifest["subjects"] == subjects, "number of subjects is not the manifest's")
        size, path = proof["dataset"]
        tree = climb(leaf(proof["manifest"].encode()), segment[1], size, hashes(path))
        require(heads["type"] == "heads" and heads["datasets"][segment[0]] == [size, tree.hex()], "heads")


def subject_tag(file_id: bytes, subject: bytes, pi: bytes, public: bytes) -> bytes:
    """``t(x)`` of *subject*, if *pi* is a VRF proof for it by the day's key *public* (FORMAT.md 7.3)."""
    return sha256(b"\x02" + file_id + independent_vrf.verify(public, subject, pi))


@contextmanager
def place(where: str) -> Iterator[None]:
    """Whatever is refused inside comes out as a ValueError that names *where*."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, OSError, RefusedError) as error:
        raise ValueError(f"{where}: {error}") from error


def require(truth: bool, what: str) -> None:
    """Refuse, unless *truth*."""
    if not truth:
        raise ValueError(what)


def strict(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no name stands twice and no number has a fraction."""
    found = json.loads(
        data.decode(), object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number
    )
    require(isinstance(found, dict), "not a JSON object")
    return dict(found)


def compact(found: dict[str, Any]) -> bytes:
    """The one spelling of a JSON object whose members have an order."""
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a member stands twice")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(f"not an integer: {text}")


def members(data: bytes, shape: dict[str, Any]) -> dict[str, Any]:
    """The object in *data*: exactly the members of *shape*, in its one spelling; ``bytes`` are base64."""
    found = strict(data)
    require(list(found) == list(shape), f"members {list(found)}")
    require(compact(found) == data, "not compact")
    return {name: _value(found[name], kind) for name, kind in shape.items()}


def _value(value: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        require(isinstance(value, list) and len(value) == len(kind), "a list of another length")
        return [_value(one, of) for one, of in zip(value, kind, strict=True)]
    if kind is bytes:
        require(isinstance(value, str), "not base64")
        return base64_exactly(value.encode()) if _is_base64(value) else require(False, "not base64")
    require(type(value) is kind, f"{value!r} is not {kind.__name__}")
    return value


def _is_base64(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) is not None


def hashes(joined: bytes) -> list[bytes]:
    """Hashes that stand one behind the other."""
    require(len(joined) % HASH == 0, "a path that is not whole hashes")
    return [joined[at : at + HASH] for at in range(0, len(joined), HASH)]


def climb(found: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the audit path *path* gives for leaf hash *found* (RFC 6962 2.1.1, read backwards)."""
    require(0 <= index < size < 1 << 64, f"leaf {index} of {size}")
    require((size == 1) == (not path), "a path of another length")
    if size == 1:
        return found
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        return node(climb(found, index, left, path[:-1]), path[-1])
    return node(path[-1], climb(found, index - left, size - left, path[:-1]))


def tree(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962 2.1)."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree(leaves[:left]), tree(leaves[left:]))


def audit_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH of RFC 6962 2.1.1, over leaf hashes."""
    if len(leaves) == 1:
        return []
    left = 1 << (len(leaves) - 1).bit_length() - 1
    if index < left:
        return [*audit_path(leaves[:left], index), tree(leaves[left:])]
    return [*audit_path(leaves[left:], index - left), tree(leaves[:left])]


def leaf(data: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(b"\x00" + data)


def node(left: bytes, right: bytes) -> bytes:
    """Hash of what stands above two."""
    return sha256(b"\x01" + left + right)


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def u64(number: int) -> bytes:
    """Eight bytes, big-endian."""
    return number.to_bytes(8, "big")


def micros(text: str) -> int:
    """A time as lines have it, in UTC µs."""
    require(TIME.fullmatch(text) is not None, f"{text!r} is no time")
    moment = dt.datetime.fromisoformat(text)
    require(moment >= EPOCH, f"{text} is before 1970")
    return (moment - EPOCH) // dt.timedelta(microseconds=1)
