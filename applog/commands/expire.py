"""``applog expire``."""

from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, settings_of, store_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retention.periods import Decision


@click.command("expire")
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted, what not, and why.")
@click.pass_context
def command(ctx: click.Context, dry_run: bool) -> None:
    """Delete the segments whose days are over. The keeper does it by itself, each hour.

    Nothing is deleted before 90 days, nor unless time servers confirm the time.

    \b
        applog expire --dry-run
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.keeper import work  # noqa: PLC0415
    from applog.keeper.confirmed import ConfirmedTime  # noqa: PLC0415
    from retention.errors import ClockError  # noqa: PLC0415
    from retention.ntp import TimeSources  # noqa: PLC0415

    settings = settings_of(ctx)
    store = store_of(ctx)
    servers = settings.time.servers
    time = ConfirmedTime(sources=TimeSources(servers=servers) if servers else None)
    try:
        time.ask()
    except ClockError as error:
        click.echo(str(error), err=True)
    if time.sources is None:
        click.echo(time.reasons[0], err=True)
    audit.record(
        store, actor_of(ctx), action="expire", outcome="unknown", query="--dry-run" if dry_run else None
    )
    days = settings.retention.days()
    decisions = (work.would_expire if dry_run else work.expire)(store, days, time.now)
    _print(decisions, days, dry_run=dry_run)


def _print(decisions: "Sequence[Decision]", days: "Mapping[str, int]", *, dry_run: bool) -> None:
    """A line for each segment, what is due first at the top."""
    from applog.search.when import show_time  # noqa: PLC0415  imports wait until the command runs

    if decisions:
        click.echo(f"{'segment':<20} {'days':>5} {'records':>12} {'bytes':>14}  due; why")
    for one in sorted(decisions, key=lambda one: (one.due is None, one.due or 0, one.name)):
        kept = days[one.name.partition("/")[0]]
        due = "not known yet" if one.due is None else show_time(one.due)
        click.echo(f"{one.name:<20} {kept:>5} {one.rows:>12,} {one.size:>14,}  {due}; {one.why}")
    gone = [one for one in decisions if one.expires]
    verb = "would be deleted" if dry_run else "deleted"
    rows = sum(one.rows for one in gone)
    click.echo(f"{len(gone):,} of {len(decisions):,} segments {verb}, {rows:,} records")
