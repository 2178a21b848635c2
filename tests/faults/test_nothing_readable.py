"""Names, addresses and user ids lie nowhere in the clear: neither under the data directory nor in TMPDIR.

Rules:
    1. Every step is a process of its own, as the product runs, with a TMPDIR that is looked at behind it.
    2. Looked for are the texts and the packed addresses: as they are, in hexadecimal, base64 and UTF-16.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.command import applog, environment, new_store

CANARIES = (
    "kannika-4711",
    "Kannika Canaryporn",
    "canary.hidden.example",
    "10.99.88.77",
    "2001:db8:ca:fe::77",
)
WRITING = """
import sys
from ipaddress import ip_address
from pathlib import Path
from applog.records import FLOW, Flow
from retention.store import Store

user, name, domain, *addresses = sys.argv[2:]
store = Store.open(Path(sys.argv[1]))
now = store.clock()
with store.writer(FLOW, "test") as writer:
    for number, address in enumerate(addresses * 20):
        writer.append(FLOW.batch([Flow(
            timestamp=now, end=now + 1, flow_id=f"x.0.{number}", flow_start=now, flow_slice=0,
            source_ip=ip_address(address).packed, source_bytes=1, source_packets=1, source_payload_bytes=1,
            destination_ip=ip_address(address).packed, destination_bytes=1, destination_packets=1,
            destination_payload_bytes=1, transport="tcp", type="ipv4", domain=domain, user_id=user,
            user_name=name,
        )]))
"""


def packed(canary: str) -> list[bytes]:
    """The address as it is stored in a column, if it is one that is long enough not to occur by chance."""
    try:
        address = ip_address(canary).packed
    except ValueError:
        return []
    return [address]


def forms_of(raw: bytes) -> Iterator[bytes]:
    """*raw* as it might lie in a file; base64 at each of its three places."""
    yield raw
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    for skipped in range(3):
        coded = base64.b64encode(bytes(skipped) + raw)
        first, last = (0, 2, 3)[skipped], len(coded) - (4 if (skipped + len(raw)) % 3 else 0)
        yield from (coded[first:last], base64.urlsafe_b64encode(base64.b64decode(coded))[first:last])


def needles() -> dict[bytes, str]:
    """What must not be found, and what it is."""
    found: dict[bytes, str] = {}
    for canary in CANARIES:
        raws = [canary.encode(), *packed(canary)]
        raws += [canary.encode(coding) for coding in ("utf-16-le", "utf-16-be")]
        found |= {form: canary for raw in raws for form in forms_of(raw) if len(form) >= 4}
    return found


def readable(*roots: Path) -> list[str]:
    """Each canary that stands in a file, or a file's name, under *roots*."""
    found = []
    for path in (path for root in roots for path in [root, *root.rglob("*")]):
        data = str(path.relative_to(path.parents[1])).encode() + b"\n"
        data += path.read_bytes() if path.is_file() else b""
        found += [f"{path}: {canary}" for needle, canary in needles().items() if needle in data]
    return found


def journaled(root: Path, temporary: Path) -> None:
    """Rows with every canary, written by a process of its own."""
    words = [sys.executable, "-c", WRITING, str(root), *CANARIES]
    subprocess.run(words, env=environment(TMPDIR=str(temporary)), check=True, timeout=60)


COMMANDS = {
    "seal": ("seal", "--now"),
    "search": ("search", f"user.id:{CANARIES[0]}", "--reason", f"about {CANARIES[1]}"),
    "search by address": ("search", f"source.ip:{CANARIES[3]}", "--format", "csv"),
    "verify": ("verify", "--deep"),
    "prove": ("prove", "flow/0:0"),
}


@pytest.mark.integration
def test_nothing_is_readable(tmp_path: Path) -> None:
    """Journaling, sealing, searching, verifying and proving print what was asked, and leave none of it."""
    store, temporary = new_store(tmp_path / "data"), tmp_path / "temporary"
    temporary.mkdir()
    found: dict[str, list[str]] = {}

    journaled(store.root, temporary)
    found["journal"] = readable(store.root, temporary)
    printed = {}
    for name, words in COMMANDS.items():
        done = applog(store.root, *words, TMPDIR=str(temporary))
        assert done.code == 0, done.err
        printed[name] = done.out
        found[name] = readable(store.root, temporary)

    assert [one for each in found.values() for one in each] == []
    assert CANARIES[0] in printed["search by address"]
    assert CANARIES[1] in json.loads(printed["prove"])["line"]


@pytest.mark.parametrize("canary", CANARIES)
def test_the_control_finds_them(tmp_path: Path, canary: str) -> None:
    """Planted in each form, amid other bytes, each is found."""
    raws = [canary.encode(), canary.encode("utf-16-le"), canary.encode("utf-16-be"), *packed(canary)]
    planted = [*raws, *(raw.hex().encode() for raw in raws)]
    planted += [
        base64.b64encode(bytes(skipped) + raw + b"!!") for raw in raws if len(raw) > 4 for skipped in range(3)
    ]

    for number, raw in enumerate(planted):
        (tmp_path / f"{number}").write_bytes(b"before" + raw + b"behind")
    (tmp_path / f"name {canary}").touch()

    found = readable(tmp_path)
    assert {Path(one.split(": ")[0]).name for one in found} == {path.name for path in tmp_path.iterdir()}
