"""Our flow meter counts what tshark counts, except where tshark_differences.toml gives the reason why not.

The table is exact both ways: a difference that is not listed fails, and so does a listed one that is gone or
has another size. What fails is printed in the table's own form, to be judged and pasted.
"""

import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from os import getuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support import tshark
from tests.support.traffic import (
    NOTHING,
    Count,
    Direction,
    Gap,
    captures,
    compare,
    read_truth,
    shared,
    truth_counts,
)

pytestmark = [pytest.mark.integration, pytest.mark.shared]

TABLE = Path(__file__).with_name("tshark_differences.toml")

KINDS = {
    "link-type": "tshark reads a link type that we do not",
    "encapsulation": "tshark finds IP below something that we do not open (MPLS, PPPoE, LLC/SNAP, tags)",
    "file": "one side refuses the file, or reads more of a damaged one",
    "length": "a length in the packet cannot be true, and the two sides put different ones in its place",
    "header": "a header is cut off or wrong, and the two sides give up at different places",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One capture, counted by both sides."""

    judged: tshark.Survey
    gap: Gap
    refusal: str = ""
    """Why our meter refused the file; empty if it did not."""


@pytest.fixture(scope="module")
def folder() -> Path:
    """Give the shared captures, or skip."""
    found = shared()
    if found is None:
        pytest.skip("no captures in ../shared/pcaps")
    if not tshark.available():
        pytest.skip("tshark is not installed")
    return found


@pytest.fixture(scope="module")
def judged(folder: Path) -> dict[str, tshark.Survey]:
    """Survey every shared capture with tshark, two at a time; results are kept between runs."""
    kept = Path(tempfile.gettempdir()) / f"applog-tshark-{getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    assert kept.stat().st_uid == getuid(), f"{kept} is somebody else's"
    paths = captures(folder)
    with ThreadPoolExecutor(2) as pool:  # tshark is a process of its own: threads are enough
        surveys = pool.map(lambda path: tshark.remembered_survey(path, kept), paths)
        return {str(path.relative_to(folder)): found for path, found in zip(paths, surveys, strict=True)}


@pytest.fixture(scope="module")
def outcomes(folder: Path, judged: dict[str, tshark.Survey]) -> dict[str, Outcome]:
    """Run our meter over every shared capture and compare."""
    _our_reader()
    return {name: _outcome(folder / name, survey) for name, survey in judged.items()}


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, Any]]:
    """Read the table of known differences."""
    return {entry["capture"]: entry for entry in _table()}


def test_we_count_what_tshark_counts(outcomes: dict[str, Outcome], listed: dict[str, dict[str, Any]]) -> None:
    """Packets and IP bytes of each direction agree in every capture that the table does not list."""
    unlisted = {name: one for name, one in outcomes.items() if one.gap and name not in listed}

    assert not unlisted, "not in the table:\n\n" + _pasteable(unlisted)


def test_listed_differences_are_still_there(
    outcomes: dict[str, Outcome], listed: dict[str, dict[str, Any]]
) -> None:
    """Every listed difference exists, in the size that the table gives."""
    gone = [name for name in listed if name in outcomes and not outcomes[name].gap]
    changed = {
        name: outcomes[name]
        for name, entry in listed.items()
        if name in outcomes and outcomes[name].gap and _size(outcomes[name].gap) != _listed_size(entry)
    }

    assert not gone, "no longer different, take out of the table:\n" + "\n".join(gone)
    assert not changed, "of another size than listed:\n\n" + _pasteable(changed)


def test_the_performance_mix_counts_as_made(folder: Path) -> None:
    """Our meter gives the totals that the benchmark's capture was made with."""
    mix, truth = _mix(folder)
    read = _our_reader()

    gap = compare(_with_fragments_apart(truth_counts(truth), tshark.ip_counts(mix)), our_counts(read(mix)))

    assert not gap, _ways(gap)


def test_the_judge_knows_the_performance_mix(folder: Path) -> None:
    """The tshark side alone gives the truth file's totals: 13,679 flows, none short, none over."""
    mix, truth = _mix(folder)

    found = tshark.survey(mix)

    assert sum(1 for _ in read_truth(truth)) == 13_679
    assert not compare(_with_fragments_apart(truth_counts(truth), found.counts), found.counts)
    assert (found.broken, found.doubtful, found.complaint) == ((), {}, "")


def test_the_table_is_sound(folder: Path) -> None:
    """Each entry names one existing capture once, a kind that is explained, and a reason."""
    entries = _table()

    assert len({entry["capture"] for entry in entries}) == len(entries)
    assert [entry["capture"] for entry in entries] == sorted(entry["capture"] for entry in entries)
    for entry in entries:
        assert (folder / entry["capture"]).is_file(), entry["capture"]
        assert entry["kind"] in KINDS, entry["capture"]
        assert len(entry["why"]) > 20, entry["capture"]
        assert _listed_size(entry) != (NOTHING, NOTHING), entry["capture"]


def test_the_judge_reads_names(folder: Path) -> None:
    """TLS, HTTP and DNS names come from the outermost connection, keyed by whoever asked."""
    web = tshark.names(folder / "http" / "zeek-connect-with-header.pcap")
    lookups = tshark.names(folder / "dns" / "zeek-dns-svcb.pcap")

    assert {names.http_host for names in web.values()} == {"secure.newegg.com:443"}
    assert {name for names in web.values() for name in names.late_sni} == {"secure.newegg.com"}
    assert not any(names.sni for names in web.values())
    assert all(way.destination_port == 53 for way in lookups)
    assert all(names.questions for names in lookups.values())


def test_the_judge_counts_the_outermost_header(folder: Path) -> None:
    """A tunnel is one conversation between its ends, whatever goes on inside."""
    counts = tshark.ip_counts(folder / "tunnels" / "zeek-geneve-vxlan-dns-truncated.pcap")

    assert {key.destination_port for key in counts} == {6081}


def test_pieces_may_join_the_flow_of_their_head() -> None:
    """Fragments count the same apart or with their head, but not with another address or nowhere."""
    head = Direction("10.0.0.1", 5000, "10.0.0.2", 53, 17)
    piece = head.without_ports()
    judged = {head: Count(1, 1500), piece: Count(2, 900)}

    assert not compare(judged, judged)
    assert not compare(judged, {head: Count(3, 2400)})
    assert compare(judged, {piece: Count(3, 2400)}).ways == ((head, Count(1, 1500), NOTHING),)
    assert compare(judged, {head: Count(2, 1900)}).missing == Count(1, 500)


def our_counts(table: pa.Table) -> dict[Direction, Count]:
    """Add up our flow records per direction: the one place that knows their column names."""
    columns = ["source.ip", "source.port", "source.packets", "source.bytes"]
    columns += [name.replace("source", "destination") for name in columns]
    columns += ["network.transport", "network.iana_number", "flow.fragment", "flow.mirrored"]
    here = [name for name in columns if name in table.column_names]
    counts: dict[Direction, Count] = {}
    for row in table.select(here).to_pylist():
        if row.get("flow.mirrored"):  # the same packets again, for the other local party
            continue
        way = Direction(
            str(ip_address(row["source.ip"])),
            row["source.port"] or 0,
            str(ip_address(row["destination.ip"])),
            row["destination.port"] or 0,
            _protocol(row),
            bool(row.get("flow.fragment")),
        )
        for key, side in ((way, "source"), (way.turned(), "destination")):
            count = Count(row[f"{side}.packets"], row[f"{side}.bytes"])
            if count.packets:
                counts[key] = counts.get(key, NOTHING).plus(count)
    return counts


def _protocol(row: Mapping[str, Any]) -> int:
    """Give the number of a row's protocol, which is an IANA keyword or a number as text."""
    number = row.get("network.iana_number")
    if number is not None:
        return int(number)
    word = str(row["network.transport"])
    known = {"icmp": 1, "igmp": 2, "ipv4": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50}
    known |= {"ah": 51, "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115}
    known |= {"sctp": 132, "udplite": 136}
    return int(word) if word.isdigit() else known[word]


def _our_reader() -> Any:
    """Give our `read_flows`, or skip while it does not exist."""
    flows = pytest.importorskip("applog.capture.flows", reason="our flow meter is not written yet")
    return flows.read_flows


def _outcome(path: Path, survey: tshark.Survey) -> Outcome:
    """Compare both sides on one capture. A refusal of ours counts as nothing read; a bug is raised."""
    refusal, ours = "", {}
    try:
        ours = our_counts(_our_reader()(path, profile="standard"))
    except Exception as error:
        if not type(error).__module__.startswith("applog."):
            error.add_note(f"while reading {path}")
            raise
        refusal = f"{type(error).__name__}: {error}"
    return Outcome(judged=survey, gap=compare(survey.counts, ours), refusal=refusal)


def _mix(folder: Path) -> tuple[Path, Path]:
    """Give the benchmark's capture and its truth, or skip."""
    place = folder.parent / "perf"
    mix, truth = place / "mixed-200k.pcap.zst", place / "mixed-200k.truth.jsonl.gz"
    if not (mix.is_file() and truth.is_file()):
        pytest.skip("no performance mix in ../shared/perf")
    return mix, truth


def _with_fragments_apart(
    truth: Mapping[Direction, Count], seen: Mapping[Direction, Count]
) -> dict[Direction, Count]:
    """Mark the truth's flows of fragments, which it lists like any flow without ports."""
    pieces = {key for key in seen if key.fragment}
    return {
        key.without_ports() if not key.source_port and key.without_ports() in pieces else key: count
        for key, count in truth.items()
    }


def _table() -> list[dict[str, Any]]:
    return list(tomllib.loads(TABLE.read_text()).get("difference", []))


def _size(gap: Gap) -> tuple[Count, Count]:
    return gap.missing, gap.extra


def _listed_size(entry: Mapping[str, Any]) -> tuple[Count, Count]:
    return Count(*entry["missing"]), Count(*entry["extra"])


def _pasteable(outcomes: Mapping[str, Outcome]) -> str:
    """Write differences as entries of the table, with what is known about each as comments."""
    return "\n".join(line for name in sorted(outcomes) for line in _entry(name, outcomes[name]))


def _entry(name: str, outcome: Outcome) -> Iterator[str]:
    """Write one difference as an entry of the table; its reason is for a person to give."""
    gap, survey = outcome.gap, outcome.judged
    yield "[[difference]]"
    yield f'capture = "{name}"'
    yield f'kind = ""  # {" | ".join(KINDS)}'
    yield f"missing = {list(gap.missing)}"
    yield f"extra = {list(gap.extra)}"
    yield 'why = ""'
    if outcome.refusal:
        yield f"# we refused: {outcome.refusal}"
    if survey.complaint:
        yield f"# tshark stopped: {survey.complaint}"
    if survey.broken:
        yield f"# IP headers that tshark finds broken: {len(survey.broken)}"
    differing = {key for key, *_ in gap.ways}
    keys = [key for key in survey.counts if {key, key.without_ports()} & differing]
    links = sorted({link for key in keys for link in survey.links[key]})
    doubts = sorted({doubt for key in keys for doubt in survey.doubtful.get(key, ())})
    if links:
        yield f"# tshark reached IP by: {', '.join(links)[:200]}"
    if doubts:
        yield f"# tshark's doubts: {', '.join(doubts)}"
    yield _ways(gap, limit=4)
    yield ""


def _ways(gap: Gap, limit: int = 20) -> str:
    """Write the first *limit* directions that differ."""
    lines = [f"#   {tuple(key)}: tshark {tuple(a)}, we {tuple(b)}" for key, a, b in gap.ways[:limit]]
    more = len(gap.ways) - limit
    return "\n".join([*lines, *([f"#   and {more} more"] if more > 0 else [])])
