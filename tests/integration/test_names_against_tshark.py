"""The names we read equal tshark's, over the school mix beside the checkout."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from applog.capture.decode import dns
from applog.capture.extract import extract_file
from retention.encoding import format_address
from tests.support import tshark
from tests.support.traffic import Direction, shared

pytestmark = [pytest.mark.integration, pytest.mark.shared]

ENOUGH = 0.99


@pytest.fixture(scope="module")
def mix() -> Path:
    """The capture."""
    folder = shared()
    assert folder is not None
    return folder.parent / "perf" / "mixed-200k.pcap.zst"


@pytest.fixture(scope="module")
def theirs(mix: Path) -> dict[Direction, tshark.Names]:
    """The names that tshark reads."""
    return tshark.names(mix)


@pytest.fixture(scope="module")
def ours(mix: Path) -> dict[str, pa.Table]:
    """Our rows."""
    return extract_file(mix, "detailed")


def direction(row: dict[str, Any]) -> Direction:
    """The 5-tuple of *row*, from its originator."""
    return Direction(
        format_address(row["source.ip"]),
        row["source.port"] or 0,
        format_address(row["destination.ip"]),
        row["destination.port"] or 0,
        tshark.TCP if row["network.transport"] == "tcp" else tshark.UDP,
    )


def domains(table: pa.Table, source: str) -> dict[Direction, set[str]]:
    """Domains by 5-tuple, of both ways, for a midstream flow may be the wrong way round."""
    found: defaultdict[Direction, set[str]] = defaultdict(set)
    for row in table.to_pylist():
        if row["flow.domain_source"] == source:
            found[direction(row)].add(row["destination.domain"])
            found[direction(row).turned()].add(row["destination.domain"])
    return found


def test_tls_names(theirs: dict[Direction, tshark.Names], ours: dict[str, pa.Table]) -> None:
    """At least 99 % of the server names that tshark reads from ClientHellos are ours, letter by letter."""
    found = domains(ours["flow"], "sni")
    wanted = [(way, {name.lower() for name in names.sni}) for way, names in theirs.items() if names.sni]

    # After a HelloRetryRequest tshark has two names for one flow; the first one is ours.
    right = sum(bool(names & found.get(way, set())) for way, names in wanted)

    assert len(wanted) > 1_000
    assert right / len(wanted) >= ENOUGH, f"{right} of {len(wanted)}"


def test_http_names(theirs: dict[Direction, tshark.Names], ours: dict[str, pa.Table]) -> None:
    """At least 99 % of the first Host headers that tshark reads are ours, without their port."""
    found = domains(ours["flow"], "http")
    wanted = [
        (way, names.http_host.lower().rpartition(":")[0] or names.http_host.lower())
        for way, names in theirs.items()
        if names.http_host
    ]

    right = sum(name in found.get(way, ()) for way, name in wanted)

    assert len(wanted) > 100
    assert right / len(wanted) >= ENOUGH, f"{right} of {len(wanted)}"


def test_dns_names(theirs: dict[Direction, tshark.Names], ours: dict[str, pa.Table]) -> None:
    """At least 99 % of the questions that tshark reads are ours: 5-tuple, name, type and number."""
    found: defaultdict[Direction, set[tuple[str, str, int]]] = defaultdict(set)
    for row in ours["dns"].to_pylist():
        asked = (row["dns.question.name"] or "", row["dns.question.type"] or "", row["dns.id"])
        found[direction(row)].add(asked)
        found[direction(row).turned()].add(asked)
    wanted = [
        (way, (one.name.lower().rstrip(".").replace("<root>", "."), dns.type_name(one.type), one.id))
        for way, names in theirs.items()
        for one in names.questions
        if not one.name.startswith("<name")  # tshark's own words for a name that cannot be read
    ]

    right = sum(asked in found.get(way, ()) for way, asked in wanted)

    assert len(wanted) > 1_000
    assert right / len(wanted) >= ENOUGH, f"{right} of {len(wanted)}"
