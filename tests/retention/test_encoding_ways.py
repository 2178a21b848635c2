"""The ways to make lines: one answer and one refusal, whatever computed them."""

import functools
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.dataset import Dataset
from retention.encoding import cache_directory, encode, selfcheck, ways
from retention.encoding.arrow import with_arrow
from retention.encoding.kernel.columns import (
    DATA,
    FIRST,
    ITEM_VALIDITY,
    KIND,
    NAME_AT,
    NAME_SIZE,
    OFFSETS,
    VALIDITY,
    VALUES,
)
from retention.encoding.layout import Table, form_of, table_of
from retention.encoding.selfcheck import CHECK, LAST, NO_UTF8, REFUSED, awkward, column, differences
from retention.encoding.ways import FEW, FORCE, Attempt, Choice, attempt, compiled, load_kernel
from retention.errors import SchemaError

GOOD = {"@timestamp": [0, 1, 2], "message": ["abc", None, "def"], "tags": [["a"], None, ["b", "c"]]}


def rows_of(columns: dict[str, list[Any]], *, count: int = 3) -> pa.RecordBatch:
    """A batch of ``CHECK`` with these columns; the others are NULL."""
    return CHECK.conform({name: column(name, values) for name, values in columns.items()}, count)


def refusal_of(rows: pa.RecordBatch, by: ways.By) -> str:
    """In what words *rows* are refused; empty if they are not."""
    try:
        encode(CHECK, rows, by=by)
    except SchemaError as error:
        return str(error)
    return ""


def test_the_kernel_is_right_here() -> None:
    """The kernel of this machine passes its self-check, so the tests that force it do test it."""
    kernel = load_kernel()

    assert differences(kernel) == []
    assert Choice(lambda: kernel).way(1, "kernel") is not with_arrow


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=repr)
def test_refusals_are_the_same(name: str, value: Any) -> None:
    """Each value without a line is refused by both ways in the same words, and only for itself."""
    rows = rows_of({**GOOD, name: [None, value, None]})
    words = refusal_of(rows, "arrow")

    assert words.startswith(f"{name}: ")
    assert refusal_of(rows, "kernel") == words
    assert attempt(compiled(), CHECK, rows) is None
    assert refusal_of(rows[2:], "kernel") == ""


DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "event.end": st.integers(0, LAST) | st.sampled_from([-1, 0, LAST, LAST + 1, -(2**63)]),
    "message": st.text(max_size=20).map(str.encode) | st.binary(max_size=20) | st.sampled_from(NO_UTF8),
    "tags": st.lists(st.text(max_size=9) | st.none(), max_size=3),
    "source.ip": st.binary(max_size=17) | st.sampled_from([bytes(4), bytes(16)]),
    "check.ips": st.lists(st.sampled_from([bytes(4), bytes(16), b"", bytes(5), None]), max_size=3),
    "source.mac": st.binary(min_size=5, max_size=7),
}


@given(st.data(), st.sampled_from(sorted(DRAWN)))
@settings(max_examples=300, deadline=None)
def test_any_value_has_one_answer(data: st.DataObject, name: str) -> None:
    """Good or bad, whole or sliced: the kernel answers what Arrow answers, and refuses what it refuses."""
    values = data.draw(st.lists(DRAWN[name] | st.none(), min_size=1, max_size=6))
    columns = {"@timestamp": list(range(len(values))), name: values}
    rows = rows_of(columns, count=len(values))[data.draw(st.integers(0, len(values))) :]

    words = refusal_of(rows, "arrow")
    lines = attempt(compiled(), CHECK, rows)

    assert (lines is None) == bool(words)
    assert lines is None or lines.equals(with_arrow(CHECK, rows))


def offsets(*values: int) -> bytes:
    """As Arrow has them."""
    return np.array(values, np.int32).tobytes()


def broken(name: str, at: bytes, *children: pa.Array) -> pa.RecordBatch:
    """Three rows, of which the second is NULL, with offsets that the type does not allow."""
    memory = [pa.py_buffer(b"\5"), pa.py_buffer(at)] + ([] if children else [pa.py_buffer(bytes(18))])
    kind = CHECK.by_name[name].arrow.type
    array = pa.Array.from_buffers(kind, 3, memory, children=list(children) or None)
    rows = rows_of({"@timestamp": [0, 1, 2]})
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), array)


def room_of(table: Table, rows: int) -> int:
    """What the kernel answers when it measures."""
    size: int = compiled().measure(table, rows, form_of(CHECK).constants, 1)
    return size


@pytest.mark.parametrize(
    ("name", "at", "children"),
    [
        ("message", offsets(0, -1, 1, 3), []),
        ("message", offsets(0, 2, 1, 3), []),
        ("message", offsets(0, 19, 1, 3), []),
        ("source.ip", offsets(0, 4, 2**31 - 1, 12), []),
        ("source.mac", offsets(12, 6, 0, 18), []),
        ("tags", offsets(0, 2, 1, 3), [pa.array(["a", "b", "c"])]),
        ("tags", offsets(0, 1, 2, 3), [broken("message", offsets(0, 9, 1, 3))["message"]]),
        ("check.ips", offsets(0, 4, 1, 3), [pa.array([bytes(4)] * 3)]),
    ],
)
def test_broken_offsets_are_not_followed(name: str, at: bytes, children: list[pa.Array]) -> None:
    """Offsets that decrease or lead outside are refused before a row is read, be it NULL or not."""
    rows = broken(name, at, *children)

    assert room_of(table_of(form_of(CHECK), rows), 3) == compiled().REFUSED
    assert attempt(compiled(), CHECK, rows) is None


def test_short_memory_is_not_read() -> None:
    """Each size and place in the table is compared with the rows before any of them is read."""
    whole = table_of(form_of(CHECK), awkward())
    assert room_of(whole, 600) > 0

    for column_number in range(len(whole)):
        for place in (VALIDITY, VALUES, OFFSETS, DATA, ITEM_VALIDITY):
            if whole[column_number, place]:
                table = whole.copy()
                table[column_number, place + 1] = 4
                assert room_of(table, 600) == compiled().REFUSED
        for place, wrong in ((KIND, 99), (KIND, -1), (NAME_AT, -1), (NAME_SIZE, 2**40), (FIRST, -1)):
            table = whole.copy()
            table[column_number, place] = wrong
            assert room_of(table, 600) == compiled().REFUSED
    assert room_of(whole, 601) == compiled().REFUSED
    assert room_of(whole, -1) == compiled().REFUSED
    assert room_of(whole[:, 1:].copy(), 600) == compiled().REFUSED


def test_room_is_never_exceeded() -> None:
    """With less room than the lines need the kernel says so, and writes nothing behind what it was given."""
    kernel, form = compiled(), form_of(CHECK)
    rows = awkward()[:8]
    table = table_of(form, rows)
    ends, dates = np.empty(9, np.int32), np.empty((len(table), 2), np.int64)
    whole = with_arrow(CHECK, rows)
    size = len("".join(whole.to_pylist()).encode())

    for room in (*range(300), *range(300, size, 7), size - 1, size):
        out = np.full(room + 2 * kernel.SLACK, 0xEE, np.uint8)
        used = kernel.write_lines(table, 8, form.constants, dates, ends, out[: room + kernel.SLACK])
        assert used == (size if room == size else kernel.FULL)
        assert (out[room + kernel.SLACK :] == 0xEE).all()
    assert kernel.write_lines(table, 8, form.constants, dates, ends, out[: kernel.SLACK - 1]) == kernel.FULL
    assert kernel.write_lines(table, 8, form.constants, dates, ends[1:], out) == kernel.REFUSED
    assert kernel.write_lines(table, 8, form.constants, dates[1:], ends, out) == kernel.REFUSED


@pytest.mark.parametrize("text", ["\0", '"', "\x1f\\"])
def test_texts_that_grow(text: str) -> None:
    """Text that is all escapes needs more room than is tried first, and gets it."""
    rows = rows_of({"@timestamp": [0, 1, 2], "message": [text * 5_000, "a", text * 1_000]})

    lines = attempt(compiled(), CHECK, rows)

    assert lines is not None
    assert lines.equals(with_arrow(CHECK, rows))


def test_two_gibibytes_are_too_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the offsets cannot count is left to Arrow, which refuses it: nothing overflows in silence."""
    rows = awkward()
    size = len("".join(with_arrow(CHECK, rows).to_pylist()).encode())

    monkeypatch.setattr(ways, "MOST_BYTES", size - 1)
    with caplog.at_level(logging.WARNING):
        assert attempt(compiled(), CHECK, rows) is None
        assert encode(CHECK, rows, by="kernel").equals(with_arrow(CHECK, rows))
    monkeypatch.setattr(ways, "MOST_BYTES", size)
    lines = attempt(compiled(), CHECK, rows)

    assert "refused 600 rows of selfcheck that have lines" in caplog.text
    assert lines is not None
    assert lines.equals(with_arrow(CHECK, rows))


UNCOMPILED = """
import functools
import numpy as np
from retention.encoding import selfcheck, ways
from retention.encoding.kernel import lines

assert not hasattr(lines.write_lines, "signatures"), "compiled after all"
with np.errstate(over="ignore"):
    assert selfcheck.differences(functools.partial(ways.attempt, lines)) == []
"""


def test_every_index_is_inside_its_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as plain Python, where NumPy checks each index, the kernel's source passes the self-check too."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")

    done = subprocess.run([sys.executable, "-c", UNCOMPILED], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_threads_do_not_share() -> None:
    """Calls in parallel do not see each other's scratch space, and load the kernel once."""
    loads: list[int] = []

    def load() -> Attempt:
        loads.append(1)
        return load_kernel()

    chosen = Choice(load)
    parts = [awkward()[at:] for at in range(0, 90, 10)] * 3

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda part: chosen.way(FEW)(CHECK, part), parts))

    assert loads == [1]
    for part, lines in zip(parts, found, strict=True):
        assert lines.equals(with_arrow(CHECK, part))


def choice(wrong: str = "") -> tuple[Choice, list[str]]:
    """A choice over a simulated kernel, wrong in one respect; and its calls."""
    calls: list[str] = []

    def simulated(dataset: Dataset, batch: pa.RecordBatch) -> pa.Array | None:
        calls.append("encode")
        try:
            lines = with_arrow(dataset, batch)
        except SchemaError:
            return batch.column("event.id") if wrong == "accepts" else None
        if wrong == "refuses":
            return None
        if wrong == "invalid":
            return pa.array([f"{line}\xff" for line in lines.to_pylist()], pa.string())
        return lines.take(pa.array(range(len(lines))[::-1], pa.int64())) if wrong == "order" else lines

    def load() -> Attempt:
        calls.append("load")
        if wrong == "loading":
            raise RuntimeError("no compiler here")
        return simulated

    return Choice(load), calls


@pytest.mark.parametrize("wrong", ["accepts", "refuses", "invalid", "order"])
def test_a_wrong_kernel_is_never_used(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    """One difference in the self-check: Arrow from then on, even when the kernel is forced; one error."""
    chosen, calls = choice(wrong)

    with caplog.at_level(logging.ERROR):
        found = [chosen.way(FEW), chosen.way(1, "kernel"), chosen.way(FEW)]

    assert found == [with_arrow] * 3
    assert calls.count("load") == 1
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert "the encoding kernel is not used: it differs from Arrow in" in caplog.text


def test_a_kernel_that_does_not_load(caplog: pytest.LogCaptureFixture) -> None:
    """A compiler that does not work costs speed, not lines: Arrow, and an error once."""
    chosen, calls = choice("loading")

    found = [chosen.way(FEW), chosen.way(1, "kernel")]

    assert found == [with_arrow] * 2
    assert calls == ["load"]
    assert "cannot be loaded" in caplog.text
    assert "no compiler here" in caplog.text


def test_few_rows_load_nothing() -> None:
    """Few rows are Arrow's until many have come; then any number is the kernel's."""
    chosen, calls = choice()

    assert chosen.way(FEW - 1) is with_arrow
    assert calls == []

    kernel = chosen.way(FEW)

    assert kernel is not with_arrow
    assert chosen.way(1) is kernel


def test_the_environment_forces_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """APPLOG_ENCODING names the way for every call; a name that is no way is refused."""
    chosen, calls = choice()

    monkeypatch.setenv(FORCE, "arrow")
    assert chosen.way(10 * FEW) is with_arrow
    assert calls == []
    monkeypatch.setenv(FORCE, "kernel")
    assert chosen.way(1) is chosen.kernel()
    monkeypatch.setenv(FORCE, "numpy")
    with pytest.raises(ValueError, match="are kernel and arrow, not 'numpy'"):
        chosen.way(1)


def test_numba_waits_until_it_is_needed() -> None:
    """Importing the package and making few lines does not load numba."""
    script = (
        "import sys; from retention.encoding import encode, selfcheck as s;"
        f"encode(s.CHECK, s.awkward()[:{FEW - 1}]); print('numba' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout == "False\n"


def test_the_cache_is_named() -> None:
    """The machine code of lines lies beside that of the other kernels, under a name of its own."""
    assert cache_directory().name.startswith("encoding-")
    assert compiled() is compiled()


def test_the_awkward_rows_are_awkward() -> None:
    """The self-check has every kind with and without NULL, and every address shape and control in it."""
    rows = awkward()

    assert rows.num_rows == 600
    assert [rows[name].null_count > 0 for name in rows.schema.names] == [False] + [True] * 10
    for name, wanted in (
        ("message", selfcheck.texts()),
        ("n", selfcheck.numbers()),
        ("source.ip", selfcheck.addresses()),
    ):
        assert set(wanted) <= set(rows[name].to_pylist())
    assert functools.reduce(set.union, map(set, selfcheck.texts())) >= {chr(code) for code in range(32)}
