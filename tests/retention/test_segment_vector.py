"""The frozen segment: every value of it from the retention code, and once more from the independent code."""

import datetime as dt
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention import leaves, proof, vrf
from retention.encoding import encode
from retention.journal.adopt import AdoptedFile
from retention.ledger.state import LedgerState
from retention.merkle import leaf_hash
from retention.note import VerifierKey, open_checkpoint
from retention.segment.build import Built, build
from retention.segment.manifest import Manifest
from retention.segment.reader import Segment
from tests.support import independent_store, segment_vector
from tests.support.disk import NOTES, Note
from tests.support.independent_ledger import Ledger

PATH = Path(__file__).parents[1] / "vectors" / "segment-1.json"
V: dict[str, Any] = json.loads(PATH.read_text())
INGESTED = int(dt.datetime(2026, 3, 1, 12, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000


def raw(values: list[dict[str, Any]], name: str) -> list[bytes]:
    """The bytes of one member of each of *values*."""
    return [bytes.fromhex(one[name]) for one in values]


def journal() -> pa.RecordBatch:
    """The rows as they were written."""
    return NOTES.batch(
        Note(
            timestamp=one["time"],
            ingested=INGESTED,
            event_id=f"pen.1.{at}",
            text=one["text"],
            number=one["number"],
        )
        for at, one in enumerate(V["journal"])
    )


def beta_of(subject: bytes) -> bytes:
    """The VRF output of *subject*."""
    return vrf.SecretKey(bytes.fromhex(V["vrf_seed"])).output(subject)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """The segment as the sealer builds it, with the vector's secrets."""
    secrets = [bytes.fromhex(V["S"]), bytes.fromhex(V["file_id"])]
    monkeypatch.setattr("os.urandom", lambda _: secrets.pop())
    file = AdoptedFile(
        writer="pen",
        number=1,
        day="2026-03-01",
        after=bytes(32),
        start=bytes(32),
        blinding=bytes(32),
        rows=np.array([len(V["journal"])]),
        chain=leaves.as_hashes([bytes(32)]),
        batches=(journal(),),
        void=(),
    )
    return build(NOTES, [file], beta_of)


def opened() -> Segment:
    """What a prover needs of the segment; there is no file of it."""
    lines = [one["line"] for one in V["journal"]]
    order = [lines.index(one["line"]) for one in V["rows"]]
    table = pa.Table.from_batches([journal().take(pa.array(order))])
    return cast(
        "Segment",
        SimpleNamespace(
            name="notes/00000000",
            manifest=Manifest.parse(V["manifest"].encode(), "notes/00000000"),
            dataset=NOTES,
            secret=bytes.fromhex(V["S"]),
            tags=leaves.as_hashes(raw(V["subjects"], "tag")),
            counts=np.array([one["count"] for one in V["subjects"]]),
            blocks=leaves.as_hashes([bytes.fromhex(one) for one in V["blocks"]]),
            table=lambda _, rows: table.slice(rows.start, len(rows)),
        ),
    )


def test_the_independent_code_still_makes_it() -> None:
    """The file is frozen: what made it once makes every byte of it again."""
    assert segment_vector.make() == V


def test_it_is_worth_checking() -> None:
    """It has a subject of more than 32 rows, one of a single row, and rows that only their lines order."""
    counts = sorted(one["count"] for one in V["subjects"])
    ties = sum(one["time"] == two["time"] for one, two in pairwise(V["rows"]))

    assert (counts[0], counts[-1], len(V["blocks"])) == (1, 35, 5)
    assert ties > 10


def test_lines() -> None:
    """Every line is the encoder's."""
    lines = [line.removesuffix("\n") for line in encode(NOTES, journal()).to_pylist()]

    assert lines == [one["line"] for one in V["journal"]]
    assert sorted(lines) == sorted(one["line"] for one in V["rows"])


def test_subjects() -> None:
    """Subject, VRF key, proof, output, tag and index of each subject."""
    key, file_id = vrf.SecretKey(bytes.fromhex(V["vrf_seed"])), bytes.fromhex(V["file_id"])
    subjects = raw(V["subjects"], "subject")

    assert key.public.hex() == V["vrf_public"]
    assert set(NOTES.subjects(journal()).to_pylist()) == set(subjects)
    assert [key.prove(one) for one in subjects] == raw(V["subjects"], "pi")
    assert [beta_of(one) for one in subjects] == raw(V["subjects"], "beta")
    assert [leaves.tag(file_id, beta_of(one)) for one in subjects] == raw(V["subjects"], "tag")
    secret = bytes.fromhex(V["S"])
    assert [leaves.lookup_key(secret, one) for one in subjects] == raw(V["subjects"], "lookup")


def test_subjects_by_the_independent_code() -> None:
    """A stranger with the day's public key gets each tag from its VRF proof, and from no other's."""
    public, file_id = bytes.fromhex(V["vrf_public"]), bytes.fromhex(V["file_id"])
    one, other = V["subjects"][:2]
    pi = bytes.fromhex(one["pi"])

    tag = independent_store.subject_tag(file_id, bytes.fromhex(one["subject"]), pi, public)

    assert tag.hex() == one["tag"]
    with pytest.raises(ValueError, match="challenge"):
        independent_store.subject_tag(file_id, bytes.fromhex(other["subject"]), pi, public)


def test_leaves() -> None:
    """Salts, bodies, leaves of rows and subjects, blocks and roots."""
    secret = bytes.fromhex(V["S"])
    lines = pa.array([one["line"] + "\n" for one in V["rows"]], pa.string())
    times = np.array([one["time"] for one in V["rows"]])
    body = leaves.bodies(secret, lines)
    counts = np.array([one["count"] for one in V["subjects"]])

    found = leaves.grow(times, body, leaves.as_hashes(raw(V["subjects"], "tag")), counts)

    assert [one.tobytes() for one in leaves.salts(secret, len(lines))] == raw(V["rows"], "salt")
    assert [one.tobytes() for one in body] == raw(V["rows"], "body")
    assert [one.tobytes() for one in found.leaves] == raw(V["rows"], "leaf")
    assert [one.tobytes().hex() for one in found.blocks] == V["blocks"]
    assert [one.tobytes() for one in found.subject_leaves] == raw(V["subjects"], "leaf")
    roots = leaves.roots_over(found.blocks, leaves.blocks_in(counts))
    assert [one.tobytes() for one in roots] == raw(V["subjects"], "root")
    assert found.root.hex() == V["root"]


def test_the_sealer_builds_it(built: Built) -> None:
    """From the journal's rows the sealer gets the same order, sections and root."""
    pieces = [bytes(one) for one in built.pieces]

    assert (built.rows, built.subjects, built.root.hex()) == (41, 4, V["root"])
    assert built.file_id.hex() == V["file_id"]
    assert pieces[1].hex() == V["S"]
    assert pieces[2] == b"".join(raw(V["subjects"], "tag"))
    assert pieces[3] == b"".join(raw(V["subjects"], "lookup"))
    assert pieces[4] == b"".join(one["count"].to_bytes(4, "big") for one in V["subjects"])
    assert pieces[5].hex() == "".join(V["blocks"])


def test_ledger() -> None:
    """Keys, entries, roots and the checkpoint, by the retention code."""
    signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(V["signing_seed"]))
    key = VerifierKey.of(f"applog/{V['store_id']}", signing.public_key().public_bytes_raw())
    state = LedgerState()
    for entry in V["entries"]:
        state.apply(entry.encode())

    checkpoint, _ = open_checkpoint(V["checkpoint"].encode(), [key])

    assert str(key) == V["verifier_key"]
    assert (checkpoint.size, checkpoint.root) == (state.size, state.tree.root())
    assert state.sealed["notes"][0].manifest == leaf_hash(V["manifest"].encode())
    assert state.vrf == {("notes", "2026-03-01"): bytes.fromhex(V["vrf_public"])}


def test_ledger_by_the_independent_code() -> None:
    """The same, by the independent code."""
    ledger, lines = Ledger(V["store_id"]), [entry.encode() for entry in V["entries"]]
    for line in lines:
        ledger.take(line)

    size = ledger.hold(V["checkpoint"].encode(), lines)

    assert size == 5
    assert ledger.key_at(size) == V["verifier_key"]


def test_row_proofs() -> None:
    """The prover makes them, and the retention code verifies them to the checkpoint."""
    expected = [proof.parse_proof(one.encode(), proof.RowProof) for one in V["row_proofs"]]
    ledger = proof.parse_proof(V["ledger_proof"].encode(), proof.LedgerProof)
    keys = [VerifierKey.parse(V["verifier_key"])]

    made = proof.Prover(opened()).prove([one.row for one in expected])

    assert [one for _, one in made] == expected
    for line, one in made:
        assert line == V["rows"][one.row]["line"]
        assert proof.check_row(line, one).hex() == V["root"]
        proof.check_segment_proof(one, bytes.fromhex(V["root"]), ledger, keys)
    assert proof.encoded_proof(ledger).decode() == V["ledger_proof"]


def test_row_proofs_are_encoded_so() -> None:
    """A row proof is written as FORMAT.md 9 says, its format included."""
    made = proof.Prover(opened()).prove([json.loads(one)["row"] for one in V["row_proofs"]])

    assert [proof.encoded_proof(one).decode() for _, one in made] == V["row_proofs"]


@pytest.mark.parametrize("encoded", V["row_proofs"])
def test_row_proofs_by_the_independent_code(encoded: str) -> None:
    """The independent code verifies each of them to the checkpoint."""
    line = V["rows"][json.loads(encoded)["row"]]["line"]

    root = independent_store.verify_row(line, encoded.encode(), V["ledger_proof"].encode(), V["verifier_key"])

    assert root.hex() == V["root"]
