"""``applog search``."""

import sys
from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, store_of

if TYPE_CHECKING:
    from applog.audit import Actor
    from applog.search.statement import Answer, Asked
    from retention.store import Store


@click.command("search")
@click.argument("query", default="*")
@click.option(
    "--since",
    help="Start: 2026-11-22 10:15, 22/11/2569 10:15, 2h, 7d, yesterday. Default: all that is stored.",
)
@click.option("--until", help="End, as --since.")
@click.option(
    "--limit", type=click.IntRange(0, 1_000_000), default=50, show_default=True, help="Rows to show at most."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "records", "csv"]),
    default="table",
    show_default=True,
    help="For people; the canonical lines; these with segment and row, as JSON; for spreadsheets.",
)
@click.option("--oldest-first", is_flag=True, help="Oldest records first.")
@click.option("--reason", help="Why you look; kept in the audit record.")
@click.pass_context
def command(
    ctx: click.Context,
    query: str,
    since: str | None,
    until: str | None,
    limit: int,
    form: str,
    oldest_first: bool,
    reason: str | None,
) -> None:
    """Find records. Every search is itself recorded.

    Fields are ECS names or user: ip: port: host: mac: src: dst: bytes: app: dataset: with AND OR NOT ( ),
    * and ? in text, [a TO b], >, >=, <, <=. The dataset is flow unless dataset: names dns, lease, coverage
    or audit. Times are Bangkok's; Buddhist years are understood. Text is found in upper and lower case;
    user.id:VALUE is compared exactly, and is the quickest way to one person's records.

    A record's position (segment and row, as flow/12:345) stays the same for ever once it is sealed.

    \b
        applog search 'ip:203.0.113.0/24 port:443 host:*.example.com bytes:>1mb' --since 7d
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.search.statement import Asked  # noqa: PLC0415  imports wait until the command runs

    store, actor = store_of(ctx), actor_of(ctx)
    asked = Asked(query=query, since=since, until=until, limit=limit, oldest_first=oldest_first)
    found = _look(store, actor, asked, reason)
    _say(form, found)
    if found.damages:
        sys.exit(3)


def _look(store: "Store", actor: "Actor", asked: "Asked", reason: str | None) -> "Answer":
    """The answer; the look, or its failure, is recorded before anything is shown."""
    from applog import audit  # noqa: PLC0415  as above
    from applog.errors import ApplogError  # noqa: PLC0415
    from applog.health import DATASETS  # noqa: PLC0415
    from applog.search.statement import answer  # noqa: PLC0415
    from retention.errors import RetentionError  # noqa: PLC0415

    try:
        request = asked.request(DATASETS, store.clock())
        dataset = next(one for one in DATASETS if one.name == request.query.dataset_name)
        found = answer(store, dataset, request)
    except (ApplogError, RetentionError, OSError) as error:
        why = f"{reason} ({error})" if reason else str(error)
        audit.record(store, actor, action="search", outcome="failure", query=asked.query, reason=why)
        raise
    audit.record(
        store,
        actor,
        action="search",
        outcome="failure" if found.damages else "success",
        query=asked.query,
        dataset=dataset.name,
        since=request.since,
        until=request.until,
        results=found.result.total,
        shown=found.result.batch.num_rows,
        reason=reason,
    )
    return found


def _say(form: str, found: "Answer") -> None:
    """Print what was found and what it is an answer about: apart where standard output is for machines."""
    from applog.search.show import shown  # noqa: PLC0415  as above

    result = found.result
    if result.batch.num_rows or form == "csv":
        for text in shown(form, found.dataset, result.batch, result.positions):
            click.echo(text, nl=False)
    for damage in found.damages:
        click.echo(f"damaged, and not searched: {damage}", err=True)
    for line in found.lines():
        click.echo(line, err=form != "table")
