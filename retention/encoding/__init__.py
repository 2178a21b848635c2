r"""Columns become canonical lines: the one form that is hashed, proved, shown and exported.

Rules of encoder 1 (FORMAT.md 1; frozen, a change is encoder 2 with vectors of its own):
    1. A line is compact JSON of one record, keys flat ECS names in schema order, no line feed.
    2. After ``@timestamp``, ``event.ingested`` and ``event.id`` stand ``event.dataset`` and
       ``event.schema`` (the schema version); the other fields follow. A NULL field's key is left out.
    3. Timestamps are UTC with six digits and ``Z``; integers plain; booleans ``true`` and ``false``.
    4. Addresses are RFC 5952 text, IPv4-mapped ones in mixed notation; MACs upper case with hyphens.
    5. Text escapes ``"`` and ``\`` with a backslash and C0 controls as ``\u00xx`` in lower case;
       everything else is its UTF-8. There is no second spelling of anything.
    6. ``""``, ``[]``, NULL inside a list and years outside 1970-9999 are refused.
    7. Bytes and refusals are the same whatever way was taken; only the time differs (``ways``).
"""

import pyarrow as pa

from retention.dataset import Dataset
from retention.encoding.arrow import format_address, format_mac
from retention.encoding.ways import By, Choice, cache_directory, compiled
from retention.errors import SchemaError

__all__ = ["ENCODER", "cache_directory", "compiled", "encode", "format_address", "format_mac"]

ENCODER = 1
"""Version of the rules above."""

_CHOICE = Choice()


def encode(dataset: Dataset, batch: pa.RecordBatch, *, by: By | None = None) -> pa.Array:
    """The lines of *batch*, each followed by its line feed, as a ``string`` array.

    The values buffer of the answer is exactly what the journal's chain hashes.

    Args:
        dataset: Whose rows these are.
        batch: The rows; may be a slice.
        by: Forces a way, for tests.

    Raises:
        SchemaError: *batch* is not of *dataset*'s schema or holds a value that has no line.
        pyarrow.ArrowCapacityError: The lines have 2 GiB or more together.
    """
    if not batch.schema.equals(dataset.schema):
        raise SchemaError(f"dataset {dataset.name} version {dataset.version}: the columns are not its schema")
    if batch.column("@timestamp").null_count:
        raise SchemaError("@timestamp: expected a time in every row, found none")
    return _CHOICE.way(batch.num_rows, by)(dataset, batch)
