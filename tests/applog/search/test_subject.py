"""The subject index is asked only where it gives the answer that looking at every row would give."""

import pyarrow as pa
import pytest

from applog.health import DATASETS
from applog.records import FLOW
from applog.search.query import parse_query
from applog.search.subject import Person, person_of
from applog.search.tree import All, And, Op, Target, Term
from captive_portal.records import LEASE, Lease
from retention.dataset import Dataset, Kind

MAC = bytes.fromhex("00005e005301")
PORT = Term(Target(Kind.INTEGER, ("source.port",)), Op.EQUALS, 443)


def asked(text: str) -> Person | None:
    """Whom the search is about."""
    query = parse_query(text, DATASETS, now=0)
    dataset: Dataset = next(one for one in DATASETS if one.name == query.dataset_name)
    return person_of(query.ast, dataset)


def test_a_person_by_id() -> None:
    """The whole search, or one of what is ANDed; what else is asked remains."""
    alone, among = asked("user.id:S-1"), asked("source.port:443 (user.id:S-1 source.port:443)")

    assert alone == Person(b"user\x00\x03S-1", All())
    assert among == Person(b"user\x00\x03S-1", And((PORT, PORT)))


def test_two_people_are_nobody() -> None:
    """ANDed, the second remains to be compared, and finds nothing."""
    found = asked("user.id:a user.id:b")

    assert found is not None
    assert found.subject == b"user\x00\x01a"
    assert found.rest != All()


def test_a_device_by_its_address() -> None:
    """Hardware addresses are bytes: the index is exact, as the search is."""
    lease = Lease(timestamp=0, action="a", source="dhcpv4", client_mac=MAC, client_ip=bytes(4))
    subject = LEASE.subjects(LEASE.batch([lease]))[0].as_py()

    found = asked("dataset:lease client.mac:00-00-5e-00-53-01")

    assert found == Person(subject, All())


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "user:S-1",
        "user.id:S-*",
        "user.id:*",
        "NOT user.id:S-1",
        "user.id:S-1 OR source.port:443",
        "user.id:(a OR b)",
        "user.name:somchai",
        "source.mac:00-00-5e-00-53-01",
        "dataset:lease mac:00-00-5e-00-53-01 OR client.ip:192.0.2.1",
        "dataset:lease client.ip:192.0.2.1",
        "dataset:coverage coverage.source:x",
        "dataset:audit user.name:somchai",
        "dataset:audit user.id:1000",
        'user.id:"\ud800"',
        f"user.id:{'x' * 70_000}",
    ],
)
def test_everything_else_is_looked_for_in_all_rows(text: str) -> None:
    """Patterns, names without regard to case, alternatives, and columns that do not decide alone."""
    try:
        found = asked(text)
    except Exception as error:  # noqa: BLE001  refused before it is searched is as good
        found = None if type(error).__name__ == "QueryError" else Person(b"", All())

    assert found is None


def test_a_subject_is_what_the_sealer_makes_of_the_row() -> None:
    """The bytes that are asked for are the bytes that are sealed, also beyond ASCII."""
    columns = {"@timestamp": pa.array([0], pa.timestamp("us")), "user.id": pa.array(["ส-๑"])}

    found = asked("user.id:ส-๑")

    assert found is not None
    assert FLOW.subjects(FLOW.conform(columns, 1)).to_pylist() == [found.subject]
