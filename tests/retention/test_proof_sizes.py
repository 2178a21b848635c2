"""How large a proof can get: as long as the largest segment, ledger and heads make it."""

import pytest

from retention.ledger.entries import HeadsEntry, encode_entry
from retention.proof import LedgerProof, RowProof, encoded_proof
from retention.segment.manifest import JournalRange, Manifest

TIME = "2026-03-01T12:00:00.000000Z"


def longest_path(size: int) -> bytes:
    """A path as long as the longest one in a tree of *size* leaves, that of leaf 0."""
    return bytes(32 * (size - 1).bit_length())


def largest_row(rows: int, subjects: int) -> bytes:
    """The largest proof of a row in a segment of that many rows: one subject has all but one of each."""
    most = rows - subjects + 1
    row = RowProof(
        segment=("a-dataset-name-0", 99_999),
        row=rows - 1,
        salt=bytes(16),
        time=253_402_300_799_999_999,
        rows=(most - 1, most, longest_path(most)),
        tag=bytes(32),
        subjects=(subjects - 1, subjects, longest_path(subjects)),
    )
    return encoded_proof(row)


@pytest.mark.parametrize("subjects", [1, 5_000, 250_000, 500_000])
def test_the_largest_row_proof_is_small(subjects: int) -> None:
    """At most 2 KiB to the segment's root, even in a segment of 500,000 rows, whosever they are."""
    assert len(largest_row(500_000, subjects)) <= 2048


def test_the_largest_ledger_proof_is_small() -> None:
    """At most 8 KiB to the checkpoint, even after ten years, with six datasets and fifteen journals."""
    digest, writer, name = "f" * 64, "collector-12.vlan-100", "a-dataset-name"
    journals = [(name, writer, 12_345, 86_400, digest)] * 15
    datasets = {f"{name}-{number}": (99_999, digest) for number in range(6)}
    heads = HeadsEntry(time=TIME, confirmed=TIME, datasets=datasets, journals=tuple(journals))
    origin = f"applog/{'f' * 32}"
    ledger = LedgerProof(
        manifest=_largest_manifest(name, writer, digest).encoded().decode(),
        dataset=(99_999, longest_path(99_999)),
        heads=encode_entry(heads).decode(),
        ledger=longest_path(10 * 366 * 24 * 60),
        checkpoint=f"{origin}\n5270400\n{'A' * 44}\n\n" + f"— {origin} {'A' * 92}\n" * 2,
    )

    assert len(encoded_proof(ledger)) + len(largest_row(500_000, 250_000)) <= 8192


def _largest_manifest(name: str, writer: str, digest: str) -> Manifest:
    journal = JournalRange(writer=writer, first=12_345, last=12_349, after=digest, frames=86_400, head=digest)
    return Manifest(
        format=1,
        dataset=name,
        sequence=99_999,
        kind="live",
        schema=10,
        encoder=10,
        subject_rule=10,
        day="2026-03-01",
        epoch=10,
        from_=TIME,
        until=TIME,
        count=500_000,
        subjects=5_000,
        first=TIME,
        last=TIME,
        file_id=digest,
        root=digest,
        plain=digest,
        file=digest,
        size=100_000_000,
        journals=(journal,) * 3,
        sealed=TIME,
        clock="unconfirmed",
        by="applog 0.2.0",
    )
