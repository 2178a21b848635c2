"""A second verifier of a whole store, without any key: standard library only, no code of the package.

Written from FORMAT.md 3, 5, 7, 8 and 10 as a stranger would. It reads everything, is strict, and stops at
the first thing that does not fit. Rows stay closed to it: for those there are row proofs.
"""

import hashlib
import re
import struct
import zlib
from pathlib import Path
from typing import Any

from tests.support.independent_ledger import DAY, Ledger, Sealed, digest
from tests.support.independent_proof import (
    compact,
    leaf,
    micros,
    place,
    require,
    sha256,
    strict,
    subject_tag,
    verify_row,
)

__all__ = ["subject_tag", "verify_row", "verify_store"]

ALWAYS = (
    *("format", "dataset", "sequence", "kind", "schema", "encoder", "subject_rule", "day", "epoch", "from"),
    *("until", "count", "subjects", "first", "last", "file_id", "root", "plain", "file", "bytes"),
    *("journals", "sealed", "clock", "by"),
)
"""Members of a manifest, in their order."""
FILLED = ("day", "first", "last", "file_id", "plain", "file", "bytes")
"""Those that a manifest without rows does not have."""
JOURNAL = ["writer", "first", "last", "after", "frames", "head"]
Ends = dict[tuple[str, str], list[dict[str, Any]]]
"""(dataset, writer): the journal ranges of its manifests, in order."""


def verify_store(root: Path, anchor: bytes | None = None) -> Ledger:
    """Check everything in *root* that is checked without a key; *anchor* is a checkpoint lodged elsewhere.

    Raises:
        ValueError: something does not fit; the message begins with its place.
    """
    with place("store.json"):
        mark = strict((root / "store.json").read_bytes())
        require(mark["format"] == 1, "format")
    ledger = _ledger(root / "ledger", mark["store_id"], anchor)
    ends: Ends = {}
    for dataset, known in ledger.sealed.items():
        directory = root / "segments" / dataset
        manifests = [_manifest(directory, number, one.leaf) for number, one in enumerate(known)]
        _time(dataset, manifests, mark["created"])
        for number, manifest in enumerate(manifests):
            with place(f"{dataset}/{number:08d}"):
                _journals(manifest, ends)
                _keys(ledger, known[number].entry, manifest)
                _file(directory / f"{number:08d}.segment", manifest, gone=known[number].expiring is not None)
                _expiry(ledger, manifests, number)
    _strangers(root / "segments", ledger)
    _heads(root / "journals", ledger, ends)
    return ledger


def _ledger(directory: Path, store_id: str, anchor: bytes | None) -> Ledger:
    with place("ledger"):
        *lines, torn = (directory / "entries").read_bytes().split(b"\n")
    ledger = Ledger(store_id)
    for line in lines:
        ledger.take(line)
    with place("ledger"):
        size = ledger.hold((directory / "checkpoint").read_bytes(), lines)
        require(size == len(lines) and not torn, "entries behind the checkpoint, which nobody signed")
        require(ledger.last == "heads", "its last entry is not heads")
    if anchor is not None:
        with place("anchor"):
            ledger.hold(anchor, lines)
    return ledger


def _manifest(directory: Path, number: int, committed: bytes) -> dict[str, Any]:
    with place(f"{directory.name}/{number:08d}.manifest"):
        data = (directory / f"{number:08d}.manifest").read_bytes()
        require(leaf(data) == committed, "not the one in the ledger")
        found = strict(data)
        require(compact(found) == data, "not compact")
        require(found["format"] == 1, "format")
        require((found["dataset"], found["sequence"]) == (directory.name, number), "of another place")
        _check_manifest(found)
    return found


def _check_manifest(found: dict[str, Any]) -> None:
    left_out = FILLED if found["count"] == 0 else ()
    require(list(found) == [name for name in ALWAYS if name not in left_out], "other members")
    require(found["kind"] in ("live", "import"), "kind")
    require(found["clock"] in ("confirmed", "unconfirmed"), "clock")
    require(found["count"] > 0 or found["root"] == sha256(b"").hex(), "a root without rows")
    require(0 <= found["subjects"] <= found["count"], "more subjects than rows")
    require((found["subjects"] == 0) == (found["count"] == 0), "subjects without rows, or rows without")
    for name in ("root", "file_id", "plain", "file"):
        digest(found.get(name, found["root"]))
    for name in ("from", "until", "sealed", "first", "last"):
        micros(found.get(name, found["from"]))
    require(found["from"] <= found["until"], "ends before it begins")
    require(found.get("first", "") <= found.get("last", ""), "its last row is before its first")
    if found["count"]:
        require(found["from"][:10] <= found["day"] <= found["until"][:10], "not of its day")


def _time(dataset: str, manifests: list[dict[str, Any]], created: str) -> None:
    """Live manifests leave no time out; in a new epoch the clock stepped back."""
    require(re.fullmatch(r"[0-9T:-]{19}\+00:00", created) is not None, "store.json: created")
    until, epoch = created[:19] + ".000000Z", 0
    for one in (one for one in manifests if one["kind"] == "live"):
        goes_on = one["epoch"] == epoch and one["from"] == until
        steps_back = one["epoch"] == epoch + 1 and one["from"] < until
        require(goes_on or steps_back, f"{dataset}/{one['sequence']:08d}: does not go on at {until}")
        until, epoch = one["until"], one["epoch"]


def _journals(manifest: dict[str, Any], ends: Ends) -> None:
    """Every file of every writer is in exactly one manifest, and each chain goes on where it ended."""
    writers = [one["writer"] for one in manifest["journals"]]
    require(len(set(writers)) == len(writers), "a writer stands twice")
    require(all((writer == "import") == (manifest["kind"] == "import") for writer in writers), "kind")
    dataset = manifest["dataset"]
    for one in manifest["journals"]:
        require(list(one) == JOURNAL and 0 < one["first"] <= one["last"], "journals")
        digest(one["head"])
        known = ends.setdefault((dataset, one["writer"]), [])
        before: dict[str, Any] = known[-1] if known else {"last": 0, "head": "0" * 64}
        goes_on = (one["first"], one["after"]) == (before["last"] + 1, before["head"])
        require(goes_on, f"journal {one['writer']} does not go on behind file {before['last']}")
        empty = {} if manifest["count"] else _empty_files(dataset, one)
        fits = manifest["count"] or (one["frames"], one["head"]) == (0, empty[one["last"]])
        require(fits, f"journal {one['writer']} had frames, the manifest has no rows")
        known.append({**one, "empty": empty})


def _empty_files(dataset: str, one: dict[str, Any]) -> dict[int, str]:
    """The heads of files without a frame: each follows from the one before alone (3.4, 7.8)."""
    heads, head = {}, digest(one["after"])
    for file in range(one["first"], one["last"] + 1):
        head = _first_hash(dataset, one["writer"], file, head)
        heads[file] = head.hex()
    return heads


def _first_hash(dataset: str, writer: str, file: int, after: bytes) -> bytes:
    names = b"".join(struct.pack(">H", len(name.encode())) + name.encode() for name in (dataset, writer))
    return sha256(b"\x12" + names + struct.pack(">Q", file) + after)


def _keys(ledger: Ledger, entry: int, manifest: dict[str, Any]) -> None:
    if manifest["count"]:
        made = ledger.vrf_at(manifest["dataset"], manifest["day"], entry)
        require(made is not None, "sealed before its day's VRF key was in the ledger")


def _file(path: Path, manifest: dict[str, Any], *, gone: bool) -> None:
    if gone or not manifest["count"]:
        require(not path.exists(), "a file where there should be none")
        return
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    require(path.stat().st_size == manifest["bytes"], "its file has another size")
    require(found.hexdigest() == manifest["file"], "its file is not the one that was sealed")


def _expiry(ledger: Ledger, manifests: list[dict[str, Any]], number: int) -> None:
    """The receipts of an expiry, by 10.2 and 10.3; what the manifest adds to what the ledger alone shows."""
    manifest = manifests[number]
    known = ledger.sealed[manifest["dataset"]]
    receipt = known[number]
    if receipt.expiring is None:
        return
    confirmed, days = receipt.expiring
    require(manifest["count"] > 0, "a manifest without rows expired")
    require(confirmed >= micros(manifest["until"]) + days * DAY, "expired before its days were over")
    require(receipt.done is not None, "was to expire, and has no receipt that it did")
    left = [
        one["sequence"]
        for one, state in zip(manifests, known, strict=True)
        if one.get("day") == manifest["day"] and _is_there(state, receipt.done or 0)
    ]
    require(receipt.day_key == "kept" or not left, f"its day's key was shredded, but {left} need it")


def _is_there(state: Sealed, entry: int) -> bool:
    """Whether it is sealed and was not to expire, at entry *entry*: rows that come late, come behind it."""
    return state.entry < entry and (state.begun is None or state.begun > entry)


def _strangers(segments: Path, ledger: Ledger) -> None:
    for path in sorted(segments.glob("*/*")):
        name = re.fullmatch(r"([0-9]{8})\.(segment|manifest)", path.name)
        known = len(ledger.sealed.get(path.parent.name, []))
        require(name is not None and int(name[1]) < known, f"{path}: the ledger knows nothing of it")


def _heads(journals: Path, ledger: Ledger, ends: Ends) -> None:
    """Every signed head is that of its manifest, where that says it, or in the journal file."""
    chains: dict[Path, dict[int, str]] = {}
    for (dataset, writer, file, frames), head in ledger.heads.items():
        sealed = [one for one in ends.get((dataset, writer), []) if one["first"] <= file <= one["last"]]
        if sealed:
            last, empty = (sealed[0]["last"], sealed[0]["frames"]), sealed[0]["empty"]
            fits = empty[file] == head and not frames if empty else sealed[0]["head"] == head
            require(fits or not (empty or last == (file, frames)), f"head of {dataset}/{writer}/{file}")
            continue
        path = journals / dataset / writer / f"{file:08d}.journal"
        if path not in chains:
            chains[path] = _chain(path, dataset, writer, file)
        require(chains[path].get(frames) == head, f"{path}: not the head that was signed at {frames} frames")


def _chain(path: Path, dataset: str, writer: str, file: int) -> dict[int, str]:
    """The chain's hash behind each frame of a journal file, by its headers (FORMAT.md 3.2 to 3.4)."""
    with place(str(path)):
        data = path.read_bytes()
        (length,) = struct.unpack_from(">I", data, 8)
        at = 12 + length + 4
        require(data[:8] == b"APPLOGJ1" and zlib.crc32(data[: at - 4]) == _u32(data, at - 4), "header")
        header = strict(data[12 : at - 4])
        require([header[name] for name in ("dataset", "writer", "file")] == [dataset, writer, file], "place")
        chain = {0: _first_hash(dataset, writer, file, digest(header["after_hash"])).hex()}
        while len(data) - at >= 88:
            magic, number, body, _, before, behind = struct.unpack_from(">4sQII32s32s", data, at)
            end = at + 88 + body
            fits = magic == b"AJF1" and zlib.crc32(data[at : at + 84]) == _u32(data, at + 84)
            if not fits or len(data) < end + 4 or zlib.crc32(data[at:end]) != _u32(data, end):
                break
            require(chain.get(number - 1) == before.hex(), f"frame {number} does not follow")
            chain[number] = behind.hex()
            at = end + 4
        return chain


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])
