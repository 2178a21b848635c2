"""``applog status``."""

import sys
from typing import TYPE_CHECKING

import click

from applog.commands import store_of

if TYPE_CHECKING:
    from retention.store import Store


@click.command("status")
@click.option("--deep", is_flag=True, help="Recompute every line and chain hash of the journals.")
@click.pass_context
def command(ctx: click.Context, deep: bool) -> None:
    """Show what is stored, since when, and whether all of it can be read.

    Ends with exit code 3 when something is damaged.

    \b
        applog status --deep
    """  # noqa: D301  click reads \b as: do not wrap
    if not show_status(store_of(ctx), deep=deep):
        sys.exit(3)


def show_status(store: "Store", *, deep: bool = False) -> bool:
    """Print what is stored; the answer is whether all of it can be read."""
    from applog.health import DATASETS, dataset_state, days_kept  # noqa: PLC0415  heavy
    from applog.search.when import show_time  # noqa: PLC0415

    states = tuple(dataset_state(store, dataset, deep=deep) for dataset in DATASETS)
    click.echo(f"store {store.root}, created {store.mark.created}")
    for state in states:
        since = (
            f", {show_time(state.oldest)} to {show_time(state.newest)}"
            if state.oldest is not None and state.newest is not None
            else ""
        )
        click.echo(f"  {state.name:<9}{state.rows:>12,} records{since}")
    kept = days_kept(states, store.clock())
    click.echo(
        "nothing is stored yet: applog import FILE" if kept is None else f"oldest record: {kept:.1f} days ago"
    )
    for path in (path for state in states for path in state.set_aside):
        click.echo(f"note: {path} is the end of a write that a crash cut short; it was never acknowledged")
    damages = [damage for state in states for damage in state.damages]
    for damage in damages:
        click.echo(f"damaged: {damage}", err=True)
    if not damages:
        click.echo("every frame was read" + (" and its chain recomputed" if deep else ""))
    return not damages
