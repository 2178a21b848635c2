"""Datasets: one mapping of names, one rule of subjects, and nothing stored that was not declared."""

import ipaddress

import msgspec
import pyarrow as pa
import pytest

from applog.records import DNS, FLOW
from captive_portal.records import LEASE
from retention.dataset import Dataset, Kind, Record, SubjectChoice
from retention.errors import SchemaError
from retention.records import AUDIT, COVERAGE, Audit
from tests.support.disk import NOTES, Note

DATASETS = [FLOW, DNS, LEASE, COVERAGE, AUDIT]
by_name = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)


def ip(text: str) -> bytes:
    """Packed address."""
    return ipaddress.ip_address(text).packed


@by_name
def test_the_mapping_is_unique(dataset: Dataset) -> None:
    """A Python name has one ECS name and the other way round; the first three are every record's."""
    python = [field.python for field in dataset.fields]
    ecs = [field.name for field in dataset.fields]

    assert len(set(python)) == len(set(ecs)) == len(ecs)
    assert ecs[:3] == ["@timestamp", "event.ingested", "event.id"]
    assert dataset.schema.names == ecs
    assert set(dataset.by_name) == set(ecs)


@by_name
def test_names_need_no_escape(dataset: Dataset) -> None:
    """Dataset and field names stand in lines and paths as they are."""
    for name in (dataset.name, *dataset.by_name):
        assert name.removeprefix("@").replace(".", "").replace("_", "").isalnum()
        assert name == name.lower()
        assert name.isascii()


@by_name
def test_subjects_name_declared_columns(dataset: Dataset) -> None:
    """A subject rule can only speak of columns that exist and hold text or bytes."""
    for choice in dataset.subject:
        field = dataset.by_name[choice.column]
        assert field.kind in {Kind.TEXT, Kind.IP, Kind.MAC}
        assert choice.kind in {"user", "mac", "ip", "host", "source", "actor"}
        assert choice.when is None or choice.when[0] in dataset.by_name


def test_one_field_name_has_one_kind() -> None:
    """A field means the same in every dataset: one search asks them all."""
    kinds: dict[str, set[Kind]] = {}
    for dataset in DATASETS:
        for field in dataset.fields:
            kinds.setdefault(field.name, set()).add(field.kind)

    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_a_record_becomes_a_row() -> None:
    """Values arrive under their ECS names; what was not observed is NULL, and zero stays zero."""
    record = Audit(timestamp=7, action="search", outcome="success", user_name="somchai", results=0)

    (row,) = AUDIT.batch([record]).to_pylist()

    assert row["event.action"] == "search"
    assert row["user.name"] == "somchai"
    assert row["audit.results"] == 0
    assert row["audit.shown"] is None
    assert row["event.ingested"] is None


def test_no_records_are_an_empty_batch() -> None:
    """Nothing becomes no rows of the right schema."""
    batch = FLOW.batch([])

    assert batch.num_rows == 0
    assert batch.schema.equals(FLOW.schema)


def test_conform_fills_with_null() -> None:
    """Columns come in schema order and type; the others are NULL."""
    batch = NOTES.conform({"note.number": pa.array([1], pa.uint16()), "@timestamp": pa.array([5])}, 1)

    assert batch.schema.equals(NOTES.schema)
    assert batch.column("note.number").to_pylist() == [1]
    assert batch.column("message").null_count == 1


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"nonsense": pa.array([1])}, "no field nonsense"),
        ({"note.number": pa.array(["many"])}, "dataset notes"),
        ({"note.number": pa.array([2**63], pa.uint64())}, "dataset notes"),
        ({"note.number": pa.array([1.5])}, "dataset notes"),
        ({"message": pa.array([[1]])}, "dataset notes"),
        ({"message": pa.array(["a", "b"])}, "dataset notes"),
    ],
    ids=["unknown", "not-a-number", "too-large", "fraction", "list", "too-many-rows"],
)
def test_conform_refuses(columns: dict[str, pa.Array], says: str) -> None:
    """An unknown field, or a value that would have to be bent, is refused with words."""
    with pytest.raises(SchemaError, match=says):
        NOTES.conform(columns, 1)


def test_a_field_without_a_stored_type_is_a_mistake() -> None:
    """A record with a float cannot become a dataset: there are no floats in lines."""

    class Wrong(Record, frozen=True, kw_only=True):
        share: float = msgspec.field(name="note.share")

    dataset = Dataset(name="wrong", record=Wrong, subject=())

    with pytest.raises(TypeError, match=r"Wrong\.share"):
        _ = dataset.fields


FLOW_ROW = {
    "source.ip": ip("10.0.0.1"),
    "destination.ip": ip("2001:db8::1"),
    "source.mac": bytes(range(6)),
    "destination.mac": bytes(range(6, 12)),
}


@pytest.mark.parametrize(
    ("values", "subject"),
    [
        ({"user.id": "u1", "flow.local": "source"}, b"user\0\x02u1"),
        ({"user.id": "u1"}, b"user\0\x02u1"),
        ({"flow.local": "source"}, b"mac\0\x06" + bytes(range(6))),
        ({"flow.local": "destination"}, b"mac\0\x06" + bytes(range(6, 12))),
        ({"flow.local": "source", "source.mac": None}, b"ip\0\x04" + ip("10.0.0.1")),
        ({"flow.local": "destination", "destination.mac": None}, b"ip\0\x10" + ip("2001:db8::1")),
        ({}, b"none\0\0"),
        ({"user.id": "10.0.0.1"}, b"user\0\x0810.0.0.1"),
    ],
    ids=[
        "user",
        "user-anywhere",
        "source",
        "destination",
        "address",
        "address-6",
        "nobody",
        "like-an-address",
    ],
)
def test_whose_flow(values: dict[str, object], subject: bytes) -> None:
    """User, else the local end's MAC, else its address, else nobody: never the other party's."""
    columns = {
        name: pa.array([value], FLOW.by_name[name].arrow.type)
        for name, value in {**FLOW_ROW, **values}.items()
    }

    subjects = FLOW.subjects(FLOW.conform(columns, 1))

    assert subjects.to_pylist() == [subject]


def test_subjects_of_many_rows() -> None:
    """Each row has its own subject, in sliced batches too; kinds cannot be mistaken for each other."""
    batch = LEASE.conform(
        {
            "client.mac": pa.array([bytes(6), None, b"\1" * 6], pa.binary()),
            "client.ip": pa.array([ip("10.0.0.1"), ip("10.0.0.2"), None], pa.binary()),
        },
        3,
    )

    subjects = LEASE.subjects(batch.slice(1)).to_pylist()

    assert subjects == [b"ip\0\x04" + ip("10.0.0.2"), b"mac\0\x06" + b"\1" * 6]
    assert LEASE.subjects(batch.slice(0, 0)).to_pylist() == []


def test_the_written_version_is_the_records() -> None:
    """The schema version of a dataset is that of its record type."""
    choice = SubjectChoice(kind="source", column="message")

    class Newer(Note, frozen=True, kw_only=True):
        SCHEMA = 2

    assert Dataset(name="newer", record=Newer, subject=(choice,)).version == 2
    assert NOTES.version == 1
