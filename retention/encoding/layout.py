"""How a batch is described to the kernel: a row of numbers for each column that is not all NULL.

Rules:
    1. Order and constants are those of the line: the constant before a value holds the name, and for the
       first column the opening brace. What has no value (dataset, schema, end of line) is a CONSTANT.
    2. Nothing about a batch is decided here; the kernel compares all sizes before it reads.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retention.dataset import Dataset, Kind
from retention.encoding.kernel.columns import (
    BOOLEAN,
    CONSTANT,
    DATA,
    FIRST,
    INTEGER,
    IP,
    IPS,
    ITEM_COUNT,
    ITEM_FIRST,
    ITEM_VALIDITY,
    MAC,
    OFFSETS,
    PADDING,
    PRESENT,
    TEXT,
    TEXTS,
    TIMESTAMP,
    VALIDITY,
    VALUES,
    WIDTH,
)

LEAD = ("@timestamp", "event.ingested", "event.id")
"""What stands before ``event.dataset`` and ``event.schema``."""

Table = npt.NDArray[np.int64]

_KINDS = {
    Kind.TIMESTAMP: TIMESTAMP,
    Kind.INTEGER: INTEGER,
    Kind.BOOLEAN: BOOLEAN,
    Kind.TEXT: TEXT,
    Kind.TEXTS: TEXTS,
    Kind.IP: IP,
    Kind.IPS: IPS,
    Kind.MAC: MAC,
}

_BUFFERS = {
    CONSTANT: (),
    TIMESTAMP: (VALIDITY, VALUES),
    INTEGER: (VALIDITY, VALUES),
    BOOLEAN: (VALIDITY, VALUES),
    TEXT: (VALIDITY, OFFSETS, DATA),
    TEXTS: (VALIDITY, VALUES, ITEM_VALIDITY, OFFSETS, DATA),
    IP: (VALIDITY, OFFSETS, DATA),
    IPS: (VALIDITY, VALUES, ITEM_VALIDITY, OFFSETS, DATA),
    MAC: (VALIDITY, OFFSETS, DATA),
}
"""What the buffers of a kind are, in Arrow's order."""


class Form(NamedTuple):
    """What is the same for all batches of a dataset."""

    constants: npt.NDArray[np.uint8]
    members: tuple[tuple[int, int, int, int], ...]
    """In the order of the line: column in the schema (-1: none), kind, place and length of the constant."""


@lru_cache(maxsize=64)
def form_of(dataset: Dataset) -> Form:
    """The constants of *dataset*'s lines and where they stand."""
    names = dataset.schema.names
    lead = [dataset.by_name[name] for name in LEAD]
    rest = [field for field in dataset.fields if field.name not in LEAD]
    about = f',"event.dataset":"{dataset.name}","event.schema":{dataset.version}'
    members = [
        *((names.index(one.name), _KINDS[one.kind], f',"{one.name}":') for one in lead),
        (-1, CONSTANT, about),
        *((names.index(one.name), _KINDS[one.kind], f',"{one.name}":') for one in rest),
        (-1, CONSTANT, "}\n"),
    ]
    column, kind, opening = members[0]
    members[0] = (column, kind, "{" + opening[1:])
    constants = bytearray()
    placed = []
    for column, kind, text in members:
        encoded = text.encode()
        placed.append((column, kind, len(constants), len(encoded)))
        constants += encoded
    return Form(np.frombuffer(bytes(constants) + bytes(PADDING), np.uint8), tuple(placed))


def table_of(form: Form, batch: pa.RecordBatch) -> Table:
    """The columns of *batch* in the order of its lines; valid as long as *batch* lives."""
    rows = batch.num_rows
    described = []
    for index, kind, at, size in form.members:
        numbers = [kind, at, size, rows] + [0] * (WIDTH - 4)
        if index >= 0:
            column = batch.column(index)
            numbers[PRESENT] = rows - column.null_count
            if not numbers[PRESENT]:
                continue
            _add_buffers(numbers, column, kind)
        described.append(numbers)
    return np.array(described, np.int64)


def _add_buffers(numbers: list[int], column: Any, kind: int) -> None:
    numbers[FIRST] = column.offset
    for place, buffer in zip(_BUFFERS[kind], column.buffers(), strict=True):
        if buffer is not None:
            numbers[place] = buffer.address
            numbers[place + 1] = buffer.size
    if kind in (TEXTS, IPS):
        numbers[ITEM_FIRST], numbers[ITEM_COUNT] = column.values.offset, len(column.values)
