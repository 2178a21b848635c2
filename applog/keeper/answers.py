"""What the keeper answers to those who hold no keys.

Rules:
    1. Every look is recorded, durably, before its answer is given; so is a look that is denied or fails.
    2. What is handed out opens one file: never a day key, a VRF secret or a journal's secret.
    3. A segment that cannot be opened is named in ``damages``; the others are answered.
"""

import base64
import dataclasses
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from applog.audit import Actor
from applog.errors import ApplogError
from applog.health import DATASETS
from applog.keeper.file_key import file_key
from applog.keeper.proofs import prove
from applog.keeper.protocol import (
    FollowRequest,
    LookRequest,
    OpenRequest,
    ProveRequest,
    Refusal,
    Request,
    StatusRequest,
    authorize,
    dataset_of,
    described,
)
from applog.keeper.register import Register
from retention.catalogue import Sealed
from retention.dataset import Dataset
from retention.errors import RetentionError
from retention.journal.reader import JournalReader, Position
from retention.ledger.view import read_ledger
from retention.store import Store
from retention.times import from_iso

FOLLOW_ROWS = 50_000
"""About so many rows come with one answer; the next one goes on."""

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers requests, one after the other. Threads may share it."""

    store: Store
    """Used by nobody else: its catalogue is for one thread at a time."""
    register: Register
    status: Callable[[], Answer]
    _turn: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def answer(self, request: Request, given: str | None, user: int) -> Answer:
        """The answer to *request* of the system's *user*, whose role is *given*.

        Raises:
            Refusal: it is denied, or cannot be answered; recorded if the user has a role.
        """
        if isinstance(request, StatusRequest):
            authorize(request, given)
            return self.status()
        try:
            authorize(request, given)
            answer, count = self._look(request)
        except (Refusal, ApplogError, RetentionError, OSError) as error:
            if given is not None:  # strangers must not fill the journal
                self._record(request, user, outcome="failure", why=str(error))
            if isinstance(error, Refusal):
                raise
            raise Refusal("failed", str(error)) from error
        self._record(request, user, outcome="success", results=count)
        return answer

    def _record(self, request: LookRequest, user: int, *, outcome: str, why: str = "", **more: Any) -> None:
        known = any(dataset_of(request) == one.name for one in DATASETS)
        ranged = request if isinstance(request, OpenRequest) else None
        try:
            self.register.record(
                Actor.of(user, request.name),
                action=_verb(request),
                outcome=outcome,
                reason=f"{request.purpose} ({why})" if why else request.purpose,
                query=described(request),
                dataset=dataset_of(request) if known else None,
                since=ranged.since if ranged else None,
                until=ranged.until if ranged else None,
                **more,
            )
        except RetentionError as error:
            raise Refusal(
                "failed", f"this look cannot be recorded, so it is not answered: {error}"
            ) from error

    def _look(self, request: LookRequest) -> tuple[Answer, int]:
        """The answer, and how many segments or rows are in it."""
        match request:
            case ProveRequest():
                view = read_ledger(self.store.root / "ledger")  # may wait for a sealing: not in our turn
                with self._turn:
                    proved = prove(self.store, view, *request.segment, request.rows)
                return {"proofs": proved}, len(proved)
            case OpenRequest():
                with self._turn:
                    return self._open(request, _dataset(request.dataset))
            case FollowRequest():
                with self._turn:
                    return self._follow(request, _dataset(request.dataset))

    def _open(self, request: OpenRequest, dataset: Dataset) -> tuple[Answer, int]:
        self.store.catalogue.refresh()
        segments: list[Answer] = []
        damages: list[str] = []
        for sealed in self.store.catalogue.sealed(dataset.name):
            if sealed.present and _is_in(sealed, request.since, request.until):
                try:
                    segments.append(self._opened(sealed))
                except (RetentionError, OSError) as error:
                    damages.append(f"segment {sealed.manifest.name}: {error}")
        return {"segments": segments, "damages": damages}, len(segments)

    def _opened(self, sealed: Sealed) -> Answer:
        day = dt.date.fromisoformat(sealed.manifest.day or "")
        key = self.store.day_keys.open(sealed.manifest.dataset, day)
        return {
            "path": str(sealed.path.absolute()),
            "manifest": sealed.encoded.decode(),
            "key": file_key(sealed, key.key),
        }

    def _follow(self, request: FollowRequest, dataset: Dataset) -> tuple[Answer, int]:
        """Rows behind the position, and how far they go; between ``sealed`` and it they are in segments."""
        while True:
            self.store.catalogue.refresh()
            before = len(self.store.catalogue.sealed(dataset.name))
            followed = _Followed(positions={name: Position(*at) for name, at in request.position.items()})
            ends = {}
            for reader in self.store.readers(dataset):
                end = self.store.catalogue.end_of(dataset.name, reader.directory.name)
                if end is not None:
                    ends[reader.directory.name] = (end.file, end.frames)
                followed.read(reader)
            self.store.catalogue.refresh()
            if len(self.store.catalogue.sealed(dataset.name)) == before:
                break  # else something was sealed while we read: once more
        return {
            "position": followed.positions,
            "sealed": ends,
            "rows": base64.b64encode(_as_stream(dataset.schema, followed.batches)).decode(),
            "more": followed.full,
            "damages": followed.damages,
        }, followed.count


@dataclass(kw_only=True)
class _Followed:
    """What is behind a position, of one writer after the other."""

    positions: dict[str, Position]
    batches: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    damages: list[str] = dataclasses.field(default_factory=list)
    count: int = 0
    full: bool = False

    def read(self, reader: JournalReader) -> None:
        """Take what *reader* has behind the position, until there is enough."""
        writer = reader.directory.name
        after = self.positions.get(writer, Position(0, 0))
        for frame in reader.frames(after):
            if self.count >= FOLLOW_ROWS:
                self.full = True
                break
            self.batches.append(frame.batch)
            self.count += frame.batch.num_rows
            self.positions[writer] = frame.position
        self.damages += map(str, reader.damages)


def _as_stream(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    """*batches* as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _dataset(name: str) -> Dataset:
    found = next((one for one in DATASETS if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in DATASETS)
        raise Refusal("unknown", f"dataset: expected {names}; found {name!r}")
    return found


def _is_in(sealed: Sealed, since: int | None, until: int | None) -> bool:
    """Whether the segment has records of the range."""
    first, last = sealed.manifest.first, sealed.manifest.last
    if first is None or last is None:
        return False
    return (since is None or from_iso(last) >= since) and (until is None or from_iso(first) < until)


def _verb(request: LookRequest) -> str:
    return {OpenRequest: "open", FollowRequest: "follow", ProveRequest: "prove"}[type(request)]


def rows_in(data: str) -> Iterator[pa.RecordBatch]:
    """The rows of a ``follow`` answer."""
    with pa.ipc.open_stream(base64.b64decode(data)) as stream:
        yield from stream
