"""``applog search``."""

import sys
from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, store_of

if TYPE_CHECKING:
    from applog.search.embedded import Result
    from retention.dataset import Dataset
    from retention.store import Contents, Store


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
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="For people; the canonical lines; for spreadsheets.",
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
    or audit. Times are Bangkok's; Buddhist years are understood.

    \b
        applog search 'ip:203.0.113.0/24 port:443 host:*.example.com bytes:>1mb' --since 7d
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.errors import ApplogError, TimeError  # noqa: PLC0415
    from applog.health import DATASETS  # noqa: PLC0415
    from applog.search.embedded import EmbeddedSearch, Request, TableSource  # noqa: PLC0415
    from applog.search.query import parse_query  # noqa: PLC0415
    from applog.search.when import parse_time  # noqa: PLC0415
    from retention.errors import RetentionError  # noqa: PLC0415

    store = store_of(ctx)
    actor = actor_of(ctx)
    now = store.clock()
    try:
        parsed = parse_query(query, DATASETS, now=now)
        start = parse_time(since, now=now, upper=False) if since else None
        end = parse_time(until, now=now, upper=True) if until else None
        if start is not None and end is not None and start >= end:
            raise TimeError(f"--since {since} is not before --until {until}")
        dataset = next(one for one in DATASETS if one.name == parsed.dataset_name)
        contents = store.read(dataset)
        request = Request(query=parsed, limit=limit, since=start, until=end, newest_first=not oldest_first)
        result = EmbeddedSearch(threads=2).run(
            request, dataset, [TableSource(name="journal", rows=contents.table)]
        )
    except (ApplogError, RetentionError) as error:
        audit.record(store, actor, action="search", outcome="failure", query=query, reason=str(error))
        raise
    audit.record(
        store,
        actor,
        action="search",
        outcome="failure" if contents.damages else "success",
        query=query,
        dataset=dataset.name,
        since=start,
        until=end,
        results=result.total,
        shown=result.batch.num_rows,
        reason=reason,
    )
    _print(form, dataset, result)
    _print_statement(form, store, dataset, contents, result, asked=(start, end))
    if contents.damages:
        sys.exit(3)


def _print(form: str, dataset: "Dataset", result: "Result") -> None:
    from applog.search.show import as_csv, as_lines, as_table  # noqa: PLC0415  as above

    shown = {"table": as_table, "json": as_lines, "csv": as_csv}[form]
    if result.batch.num_rows or form == "csv":
        for text in shown(dataset, result.batch):
            click.echo(text, nl=False)


def _beyond(contents: "Contents", asked: tuple[int | None, int | None]) -> list[str]:
    """Which part of the asked range lies outside everything that is stored: no answer about it."""
    from applog.search.when import show_time  # noqa: PLC0415  as above

    first, last = contents.span()
    if first is None or last is None:
        return []
    since, until = asked
    lines = []
    if since is not None and since < first:
        lines.append(f"          nothing is stored before {show_time(first)}: no answer about that time")
    if until is not None and until > last + 1:
        lines.append(f"          nothing is stored after {show_time(last)}: no answer about that time")
    return lines


def _print_statement(
    form: str,
    store: "Store",
    dataset: "Dataset",
    contents: "Contents",
    result: "Result",
    *,
    asked: tuple[int | None, int | None],
) -> None:
    """Say what the answer is an answer about; on standard error where standard output is for machines."""
    from applog.search.coverage import coverage_of  # noqa: PLC0415  as above
    from applog.search.when import show_time  # noqa: PLC0415

    for damage in contents.damages:
        click.echo(f"damaged, and not searched: {damage}", err=True)
    name = dataset.name
    if result.truncated:
        lines = [
            f"truncated at {result.batch.num_rows:,} of {result.total:,} {name} records; --limit shows more"
        ]
    else:
        lines = [
            f"{result.total:,} {name} records, all shown" if result.total else f"no {name} record matches"
        ]
    if result.since is None or result.until is None:
        lines.append("nothing is stored yet: applog import FILE")
    else:
        scope = "searched: all that is stored, " if asked == (None, None) else "searched: "
        lines.append(f"{scope}{show_time(result.since)} to {show_time(max(result.since, result.until))}")
        lines += _beyond(contents, asked)
        lines += coverage_of(store, *asked).lines()
    for line in lines:
        click.echo(line, err=form != "table")
