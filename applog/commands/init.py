"""``applog init``."""

import click

from applog.commands import actor_of, settings_of


@click.command("init")
@click.option("--if-missing", is_flag=True, help="Do nothing where a store already is.")
@click.pass_context
def command(ctx: click.Context, if_missing: bool) -> None:
    """Create the data directory and its keys.

    \b
        applog --data ./data init
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from retention.store import Store  # noqa: PLC0415

    settings = settings_of(ctx)
    if if_missing and (settings.data_directory / "store.json").exists():
        return
    store = Store.create(settings.data_directory)
    audit.record(store, actor_of(ctx), action="init", outcome="success")
    click.echo(f"created a store in {store.root}")
    click.echo(f"back up {store.root / 'keys'} now, somewhere else: without it the records cannot be read")
