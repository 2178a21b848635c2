"""``applog demo``."""

import datetime as dt

import click

from applog.commands import actor_of, store_of


@click.command("demo")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make the traffic of a sample school day that ends now, and import it.

    All addresses and names are reserved for documentation; nobody real is in it.

    \b
        applog demo
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.capture.profile import PROFILES  # noqa: PLC0415  imports wait until the command runs
    from applog.commands.imports import import_one  # noqa: PLC0415
    from applog.demo.school import write_school_day  # noqa: PLC0415
    from applog.pipeline import Importer  # noqa: PLC0415
    from retention.durable import make_directory  # noqa: PLC0415

    store = store_of(ctx)
    now = dt.datetime.fromtimestamp(store.clock() // 1_000_000, dt.UTC)
    path = store.root / "cache" / f"school-day-{now:%Y%m%dT%H%M%S}.pcap"
    make_directory(path.parent)
    write_school_day(path, now)
    try:
        importer = Importer(store=store, actor=actor_of(ctx), profile=PROFILES["detailed"])
        import_one(importer, path)
    finally:
        path.unlink()
    click.echo("try: applog search 'host:*' --limit 5")
