"""``applog seal``."""

import sys
import time
from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, store_of

if TYPE_CHECKING:
    from applog.keeper.work import Sealing
    from retention.sealer import SealReport
    from retention.store import Store


@click.command("seal")
@click.option("--now", is_flag=True, help="All that is stored, not only what is from before midnight UTC.")
@click.pass_context
def command(ctx: click.Context, now: bool) -> None:
    """Seal journals into segments that nobody can change unnoticed. The keeper does it by itself.

    \b
        applog seal --now
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.keeper import work  # noqa: PLC0415
    from applog.keeper.due import midnight_before  # noqa: PLC0415

    store = store_of(ctx)
    store.unlock()
    audit.record(store, actor_of(ctx), action="seal", outcome="unknown", query="--now" if now else None)
    cut = _cut_now(store) if now else midnight_before(store.clock())
    started = time.monotonic()
    sealing = work.seal(store, cut, progress=_Printer(started).show)
    _print_end(store, sealing, now=now)
    sealing.check()


def _cut_now(store: "Store") -> int:
    """A moment just past, at which every running writer began a new file."""
    from applog.health import DATASETS  # noqa: PLC0415  imports wait until the command runs
    from applog.keeper import work  # noqa: PLC0415

    running = work.running_writers(store)
    if not running:
        return store.clock()
    moment = store.clock() + work.CUT_AHEAD_US
    work.name_cut(store, DATASETS, moment)
    seconds = (work.CUT_AHEAD_US + work.CUT_SETTLED_US) / 1e6
    click.echo(f"{', '.join(running)} begin new files; sealing in {seconds:.0f} s", err=True)
    time.sleep(seconds)
    return moment


def _print_end(store: "Store", sealing: "Sealing", *, now: bool) -> None:
    """Say what was not sealed, and why."""
    from applog.health import DATASETS  # noqa: PLC0415  imports wait until the command runs
    from applog.keeper.backlog import Backlog  # noqa: PLC0415

    if not sealing.reports and not sealing.refusals:
        click.echo("there was nothing to seal")
    for waiting in sealing.waiting:
        click.echo(f"waits: {waiting}")
    backlog = Backlog(journals=store.root / "journals")
    for dataset in DATASETS:
        rows = backlog.rows(dataset.name)
        if rows:
            why = "came since, or an import is under way" if now else "since midnight UTC: --now seals them"
            click.echo(f"not sealed yet: {rows:,} {dataset.name} records, {why}")


class _Printer:
    """Says of each segment what it is and how fast it was sealed."""

    def __init__(self, started: float) -> None:
        self._last = started

    def show(self, report: "SealReport") -> None:
        """Print *report*, just committed."""
        now = time.monotonic()
        seconds, self._last = max(now - self._last, 0.001), now
        if not report.rows:
            click.echo(f"{report.name}: a time without records")
            return
        rate = report.size / seconds / 1e6
        click.echo(f"{report.name}: {report.rows:,} records, {report.size:,} bytes, {rate:.1f} MB/s")
        sys.stdout.flush()
