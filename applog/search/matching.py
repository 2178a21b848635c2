"""Which rows of a table the tree matches, answered by DuckDB in this process: the only importer of duckdb.

Rules:
    1. DuckDB gets no disk, no network and no extension, and cannot be told otherwise: it sees the columns it
       is handed, nothing else, and spills nothing (what is searched was decrypted).
    2. A comparison with a dictionary-coded column is made once per distinct value. That is the same answer:
       a row matches or not by its value alone, and no comparison matches what is absent.
    3. DuckDB is loaded and opened at the first comparison: a search without one does not wait for it.
"""

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from applog.errors import SearchError
from applog.search.sources import Places
from applog.search.sql import Condition, quoted, where
from applog.search.tree import All, And, Node, Not, Or, Term, columns_of

if TYPE_CHECKING:
    import duckdb

Mask = npt.NDArray[np.bool_]
"""For each row, whether it matches."""

_ROW = "#row"
_CONFINED = ("enable_external_access = false", "lock_configuration = true")


class Matcher:
    """A confined DuckDB. Threads may share it; each of their questions has a connection of its own."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._lock = threading.Lock()

    def mask(self, node: Node, table: pa.Table) -> Mask:
        """Which rows of *table* match *node*, whose columns it has.

        Raises:
            SearchError: it needs more memory than it may have.
        """
        columns = sorted(columns_of(node))
        if columns and not any(pa.types.is_dictionary(table.schema.field(name).type) for name in columns):
            return self.matching(where(node), table.select(columns))
        match node:
            case All():
                return np.ones(table.num_rows, np.bool_)
            case Not(part):
                return ~self.mask(part, table)
            case Term(field):
                return self._coded(node, field.columns[0], table.column(field.columns[0]))
            case And(parts):
                found = np.ones(table.num_rows, np.bool_)
                for part in parts:
                    found = found & self.mask(part, table) if found.any() else found
                return found
            case Or(parts):
                found = np.zeros(table.num_rows, np.bool_)
                for part in parts:
                    found = found if found.all() else found | self.mask(part, table)
                return found

    def _coded(self, term: Term, name: str, column: pa.ChunkedArray) -> Mask:
        """*term* on a dictionary-coded column: on the values of all its chunks at once."""
        chunks = [_values(chunk) for chunk in column.chunks]
        if not chunks:
            return np.zeros(0, np.bool_)
        matches = self.matching(where(term), pa.table({name: pa.concat_arrays([one for one, _ in chunks])}))
        found = np.zeros(len(column), np.bool_)
        row = value = 0
        for values, places in chunks:
            answers = matches[value : value + len(values)]
            if answers.any():
                found[row : row + len(places)] = np.append(answers, False)[places]
            row += len(places)
            value += len(values)
        return found

    def matching(self, condition: Condition, table: pa.Table) -> Mask:
        """Which rows of *table* fulfil *condition*."""
        import duckdb  # noqa: PLC0415  rule 3

        numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
        with self.connection() as connection:
            connection.register("stored", numbered)
            try:
                rows = connection.execute(
                    f"SELECT {quoted(_ROW)} FROM stored WHERE {condition.sql}",  # noqa: S608 - see sql.py
                    condition.parameters,
                ).fetchnumpy()[_ROW]
            except duckdb.OutOfMemoryException as error:
                raise SearchError(f"the search needs more than {self._memory_mb} MB of memory") from error
        found = np.zeros(table.num_rows, np.bool_)
        found[np.asarray(rows, np.int64)] = True
        return found

    def connection(self) -> "duckdb.DuckDBPyConnection":
        """A connection of its own to the confined database."""
        with self._lock:
            return self._database.cursor()

    @cached_property
    def _database(self) -> "duckdb.DuckDBPyConnection":
        import duckdb  # noqa: PLC0415  rule 3

        config: dict[str, Any] = {
            "temp_directory": "",
            "threads": 1,  # a search has threads of its own
            "memory_limit": f"{self._memory_mb}MB",
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
        connection = duckdb.connect(":memory:", config=config)
        for setting in _CONFINED:
            connection.execute(f"SET {setting}")
        return connection


def _values(chunk: pa.DictionaryArray) -> tuple[pa.Array, Places]:
    """What is to be compared, and for each row which of it; one beyond the last where a row has no value."""
    if len(chunk) < len(chunk.dictionary):  # a few rows of many: their own values are fewer
        return chunk.dictionary_decode(), np.arange(len(chunk))
    return chunk.dictionary, chunk.indices.fill_null(len(chunk.dictionary)).to_numpy()
