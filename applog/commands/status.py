"""``applog status``."""

import sys
from typing import TYPE_CHECKING

import click

from applog.commands import settings_of, store_of

if TYPE_CHECKING:
    from applog.health import DatasetState
    from applog.keeper.seen import Seen
    from applog.settings import Settings
    from retention.store import Store


@click.command("status")
@click.option("--deep", is_flag=True, help="Recompute every line and chain hash of the journals.")
@click.pass_context
def command(ctx: click.Context, deep: bool) -> None:
    """Show what is stored, sealed and signed, whether all of it can be read, and how the keeper is.

    Ends with exit code 3 when something is damaged.

    \b
        applog status --deep
    """  # noqa: D301  click reads \b as: do not wrap
    if not show_status(store_of(ctx), settings_of(ctx), deep=deep):
        sys.exit(3)


def show_status(store: "Store", settings: "Settings", *, deep: bool = False) -> bool:
    """Print what is stored; the answer is whether nothing is damaged."""
    from applog.health import DATASETS, dataset_state, days_kept  # noqa: PLC0415  heavy
    from applog.keeper.seen import seen  # noqa: PLC0415

    states = tuple(dataset_state(store, dataset, deep=deep) for dataset in DATASETS)
    click.echo(f"store {store.root}, created {store.mark.created}")
    found = seen(store)
    for state in states:
        _print_dataset(state, found, settings)
    kept = days_kept(states, store.clock())
    click.echo(
        "nothing is stored yet: applog import FILE" if kept is None else f"oldest record: {kept:.1f} days ago"
    )
    for path in (path for state in states for path in state.set_aside):
        click.echo(f"note: {path} is the end of a write that a crash cut short; it was never acknowledged")
    _print_keeper(found)
    damages = [damage for state in states for damage in state.damages] + list(found.damages)
    for damage in damages:
        click.echo(f"damaged: {damage}", err=True)
    if not damages:
        click.echo("every frame was read" + (" and its chain recomputed" if deep else ""))
    return not damages


def _print_dataset(state: "DatasetState", found: "Seen", settings: "Settings") -> None:
    from applog.search.when import show_time  # noqa: PLC0415  imports wait until the command runs

    since = (
        f", {show_time(state.oldest)} to {show_time(state.newest)}"
        if state.oldest is not None and state.newest is not None
        else ""
    )
    days = settings.retention.days()[state.name]
    click.echo(f"  {state.name:<9}{state.rows:>12,} records{since}")
    sealed, segments = found.sealed.get(state.name, (0, 0))
    waiting = found.unsealed.get(state.name, 0)
    click.echo(
        f"{'':<11}{sealed:,} sealed in {segments:,} segments, {waiting:,} not yet; kept for {days:,} days"
    )


def _print_keeper(found: "Seen") -> None:
    from applog.search.when import show_time  # noqa: PLC0415  imports wait until the command runs

    if found.checkpoint is not None:
        click.echo(f"newest checkpoint: {found.entries:,} entries, {show_time(found.checkpoint)}")
    if found.keeper is None:
        click.echo("keeper: does not run; nothing is sealed, signed, verified or deleted: applog keeper")
    else:
        click.echo(f"keeper: runs, process {found.keeper}")
    if found.confirmed is not None:
        click.echo(f"time: confirmed, {show_time(found.confirmed)}")
    elif found.time:
        click.echo(f"time: not confirmed, so nothing is deleted: {'; '.join(found.time)}")
    if found.newest_confirmed is not None and found.confirmed is None:
        click.echo(f"time: confirmed last at {show_time(found.newest_confirmed)}")
    last = found.verified
    if last is None:
        click.echo("verified: not yet; the keeper does it each night, or: applog verify --deep")
    else:
        result = f"{len(last.failures):,} failures" if last.failures else "all of it is as it was sealed"
        click.echo(f"verified: {show_time(last.ended)}, {result}")
    for waiting in found.waiting:
        click.echo(f"waits to be sealed: {waiting}")
    for name, since, failure in found.degraded:
        click.echo(f"degraded: {name}, since {show_time(since)}: {failure}", err=True)
