"""The ledger a second time: standard library only, no code of the package.

Written from FORMAT.md 8 and 10 as a stranger would.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from tests.support.independent_note import base64_exactly, open_checkpoint, read_key, verifies
from tests.support.independent_proof import compact, leaf, micros, place, require, strict, tree

DAY = 86_400_000_000
FLOOR_DAYS = 90
KEY_MEMBERS = {
    "signing": {"key", "store"},
    "rotated": {"old", "key", "signatures"},
    "vrf": {"dataset", "day", "public"},
}
MEMBERS = {
    "sealed": {"dataset", "sequence", "manifest"},
    "heads": {"confirmed", "datasets", "journals"},
    "expiring": {"dataset", "sequence", "manifest", "confirmed", "retention_days"},
    "expired": {"dataset", "sequence", "day_key"},
}


@dataclass
class Sealed:
    """What is said of one manifest."""

    leaf: bytes
    entry: int
    """Number of the ``sealed`` entry."""
    confirmed: int | None = None
    """First confirmed time at or behind that entry."""
    expiring: tuple[int, int] | None = None
    """The confirmed time on which the expiry rests, and the days."""
    day_key: str | None = None
    """From ``expired``."""
    begun: int | None = None
    """Number of the ``expiring`` entry."""
    done: int | None = None
    """Number of the ``expired`` entry."""


@dataclass
class Ledger:
    """What the entries say, taken one after the other."""

    store_id: str
    leaves: list[bytes] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    """From which entry on which verifier key signs."""
    vrf: dict[tuple[str, str], list[tuple[int, bytes]]] = field(default_factory=dict)
    """(dataset, day): from which entry on which public key makes its tags."""
    sealed: dict[str, list[Sealed]] = field(default_factory=dict)
    heads: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    """(dataset, writer, file, frames): the chain's hash behind them."""
    confirmed: int = 0
    last: str = ""

    def take(self, line: bytes) -> None:
        """The next entry."""
        with place(f"ledger entry {len(self.leaves)}"):
            entry = strict(line)
            require(list(entry)[:2] == ["type", "time"], "does not begin with type and time")
            require(compact(entry) == line, "not compact")
            micros(entry["time"])
            kind = entry["type"]
            known = KEY_MEMBERS[entry["action"]] | {"action"} if kind == "key" else MEMBERS[kind]
            require(entry.keys() == known | {"type", "time"}, f"members {sorted(entry)}")
            require(bool(self.keys) or entry.get("action") == "signing", "expected a signing key first")
            getattr(self, f"_{entry['action'] if kind == 'key' else kind}")(entry)
            self.leaves.append(leaf(line))
            self.last = kind

    def _signing(self, entry: dict[str, Any]) -> None:
        require(not self.leaves, "a signing key that is not the first entry")
        require(entry["store"] == self.store_id, "the ledger of another store")
        require(read_key(entry["key"])[0] == f"applog/{self.store_id}", "a key of another name")
        self.keys.append((0, entry["key"]))

    def _rotated(self, entry: dict[str, Any]) -> None:
        old, new, origin = entry["old"], entry["key"], f"applog/{self.store_id}"
        require(old == self.keys[-1][1] and new not in [key for _, key in self.keys], "not from key to key")
        require(read_key(new)[0] == origin, "a key of another name")
        message = f"applog-key-rotation-1\n{origin}\n{old}\n{new}\n{len(self.leaves)}\n".encode()
        require(len(entry["signatures"]) == 2, "expected two signatures")
        for key, signature in zip((old, new), entry["signatures"], strict=True):
            require(
                verifies(read_key(key)[2], message, base64_exactly(signature.encode())), "false signature"
            )
        self.keys.append((len(self.leaves), new))

    def _vrf(self, entry: dict[str, Any]) -> None:
        name = (entry["dataset"], entry["day"])
        dt.date.fromisoformat(entry["day"])
        self.vrf.setdefault(name, []).append((len(self.leaves), digest(entry["public"])))

    def _sealed(self, entry: dict[str, Any]) -> None:
        known = self.sealed.setdefault(entry["dataset"], [])
        require(entry["sequence"] == len(known), f"expected segment {len(known)} of {entry['dataset']}")
        known.append(Sealed(digest(entry["manifest"]), len(self.leaves)))

    def _heads(self, entry: dict[str, Any]) -> None:
        trees = {
            name: [len(known), tree([one.leaf for one in known]).hex()] for name, known in self.sealed.items()
        }
        require(entry["datasets"] == trees, "trees are not those of the sealed entries")
        for dataset, writer, file, frames, head in entry["journals"]:
            digest(head)
            known = self.heads.setdefault((dataset, writer, file, frames), head)
            require(known == head, f"another head of journal {dataset}/{writer}/{file}")
        if entry["confirmed"] is not None:
            confirmed = micros(entry["confirmed"])
            require(confirmed >= self.confirmed, "an earlier confirmed time than before")
            self.confirmed = confirmed
            for one in (one for known in self.sealed.values() for one in known):
                one.confirmed = confirmed if one.confirmed is None else one.confirmed

    def _expiring(self, entry: dict[str, Any]) -> None:
        known = self._known(entry)
        confirmed, days = micros(entry["confirmed"]), entry["retention_days"]
        require(known.expiring is None, "expires a second time")
        require(digest(entry["manifest"]) == known.leaf, "expires under another manifest")
        require(type(days) is int and days >= FLOOR_DAYS, f"expires after {days} days, under the floor")
        require(confirmed == self.confirmed, "rests on another time than heads confirmed last")
        require(known.confirmed is not None, "expires without a confirmed time since its sealing")
        require(confirmed >= (known.confirmed or 0) + days * DAY, "expires before its days are over")
        known.expiring, known.begun = (confirmed, days), len(self.leaves)

    def _expired(self, entry: dict[str, Any]) -> None:
        known = self._known(entry)
        require(known.expiring is not None and known.day_key is None, "expired out of turn")
        require(entry["day_key"] in ("kept", "shredded"), "day_key")
        known.day_key, known.done = entry["day_key"], len(self.leaves)

    def _known(self, entry: dict[str, Any]) -> Sealed:
        known = self.sealed.get(entry["dataset"], [])
        require(0 <= entry["sequence"] < len(known), "of a segment that was never sealed")
        return known[int(entry["sequence"])]

    def vrf_at(self, dataset: str, day: str, entry: int) -> bytes | None:
        """The day's public key for what entry *entry* seals: a later key counts behind its entry (8.1)."""
        made = [public for start, public in self.vrf.get((dataset, day), []) if start < entry]
        return made[-1] if made else None

    def key_at(self, size: int) -> str:
        """The verifier key that signs at *size* entries: rotation counts from its entry on (8.5)."""
        return [key for start, key in self.keys if start < size][-1]

    def hold(self, note: bytes, lines: list[bytes]) -> int:
        """The size of the checkpoint *note*, which *lines* extend and the key of its time signed."""
        with place("checkpoint"):
            known = [key for _, key in self.keys]
            head = open_checkpoint(note, known)
            require(0 < head.size <= len(lines), f"{head.size} entries signed, {len(lines)} are there")
            require(tree([leaf(line) for line in lines[: head.size]]) == head.root, "of other entries")
            open_checkpoint(note, [self.key_at(head.size)])
            require(head.origin == f"applog/{self.store_id}", "of another store")
            return head.size


def digest(text: str) -> bytes:
    """32 bytes from lower-case hexadecimal."""
    require(len(text) == 64 and set(text) <= set("0123456789abcdef"), f"{text!r} is no digest")
    return bytes.fromhex(text)
