"""Runs `applog` as people do, and looks at what it left in the store.

Rules:
    1. ``applog`` is the real command in a process of its own; ``quickly`` is the same command line through
       ``applog.cli.main`` in this process, for tests whose promise does not need a process.
    2. Neither sees the developer's configuration: only the data directory it is given.
"""

import atexit
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa

from applog.capture.kernel import cache_directory
from applog.cli import main
from applog.health import DATASETS
from retention.dataset import Dataset
from retention.encoding import encode
from retention.store import Store

APPLOG = str(Path(sys.executable).with_name("applog"))
CAPTURES = Path(__file__).parents[1] / "pcaps"
_SET_BY_STORE = ("event.id", "event.ingested")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command answered."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """An environment in which `applog` knows nothing but where its kernels are, and *more*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("APPLOG_", "SUDO_"))}
    return {**kept, "APPLOG_KERNEL_CACHE": str(cache_directory().parent), **more}


def started(data: Path, *words: str, config: Path | None = None, **more: str) -> "subprocess.Popen[bytes]":
    """The command in a process of its own, running."""
    chosen = [] if config is None else ["--config", str(config)]
    return subprocess.Popen(
        [APPLOG, "--data", str(data), *chosen, *words],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def applog(data: Path, *words: str, given: bytes = b"", **more: str) -> Outcome:
    """The command in a process of its own, ended; *given* is its standard input."""
    done = subprocess.run(
        [APPLOG, "--data", str(data), *words],
        env=environment(**more),
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Outcome(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


def quickly(data: Path, *words: str, **more: str) -> Outcome:
    """The command line through ``main`` in this process; a crash gives code 1 and its traceback, as there."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(**more))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _code_of(["--data", str(data), *words], err)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Outcome(code=code, out=_written(out), err=_written(err))


def _code_of(words: list[str], err: io.TextIOWrapper) -> int:
    try:
        main(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception:  # noqa: BLE001  a crash is an answer too: the test says whether it was expected
        traceback.print_exc(file=err)
        return 1
    return 0


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


@cache
def _template() -> Path:
    """A store without a record, made once: its keys cost many syncs."""
    root = Path(tempfile.mkdtemp(prefix="applog-test-store-"))
    atexit.register(shutil.rmtree, root)
    Store.create(root / "store")
    return root / "store"


def new_store(root: Path) -> Store:
    """A store of its own at *root*, without a record."""
    shutil.copytree(_template(), root)
    return Store.open(root)


@cache
def _sealed_template() -> Path:
    """A store with two small captures, sealed, made once."""
    root = Path(tempfile.mkdtemp(prefix="applog-test-sealed-")) / "store"
    atexit.register(shutil.rmtree, root.parent)
    new_store(root)
    names = ("tls.pcap", "dns.pcap", "dhcp-v4.pcap")
    for words in (["import", *(str(CAPTURES / name) for name in names)], ["seal", "--now"]):
        done = quickly(root, *words)
        assert done.code == 0, done.err
    return root


def sealed_store(root: Path) -> Store:
    """A store of its own at *root*, with sealed records of flow, lease and audit."""
    shutil.copytree(_sealed_template(), root)
    return Store.open(root)


def lines(store: Store, *, whole: bool = False) -> dict[str, list[str]]:
    """The canonical lines of every dataset but audit, in order; *whole* keeps what the store itself sets."""
    found, damages = lines_of(store.root, whole=whole)
    assert not damages, damages
    return found


def lines_of(root: Path, *, whole: bool = False) -> tuple[dict[str, list[str]], list[str]]:
    """As ``lines``, and what could not be read, in words."""
    store = Store.open(root)
    found: dict[str, list[str]] = {}
    damages: list[str] = []
    for dataset in DATASETS:
        contents = store.read(dataset, deep=True)
        damages += map(str, contents.damages)
        if dataset.name != "audit":
            found[dataset.name] = list(_lines(dataset, contents.table, whole=whole))
    return found, damages


def _lines(dataset: Dataset, table: pa.Table, *, whole: bool) -> Iterator[str]:
    for batch in table.to_batches():
        shown = {name: batch.column(name) for name in batch.schema.names}
        if not whole:
            shown |= {name: pa.nulls(len(batch), shown[name].type) for name in _SET_BY_STORE}
        kept = pa.RecordBatch.from_arrays(list(shown.values()), schema=batch.schema)
        yield from encode(dataset, kept).to_pylist()


def audits(store: Store) -> list[dict[str, object]]:
    """The audit records in order, absent fields left out."""
    table = next(store.read(dataset).table for dataset in DATASETS if dataset.name == "audit")
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
