"""``applog init``."""

import click

from applog.commands import actor_of, settings_of


@click.command("init")
@click.option("--if-missing", is_flag=True, help="Do nothing where a store already is.")
@click.option(
    "--passphrase",
    is_flag=True,
    help="Put the keys behind a passphrase: asked for, or in the file that APPLOG_PASSPHRASE_FILE names.",
)
@click.pass_context
def command(ctx: click.Context, if_missing: bool, passphrase: bool) -> None:
    """Create the data directory and its keys.

    \b
        applog --data ./data init
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.commands.passphrase import new_passphrase  # noqa: PLC0415
    from retention.store import Store  # noqa: PLC0415

    settings = settings_of(ctx)
    if if_missing and (settings.data_directory / "store.json").exists():
        return
    chosen = new_passphrase() if passphrase else None
    store = Store.create(settings.data_directory, passphrase=chosen)
    audit.record(store, actor_of(ctx), action="init", outcome="success")
    click.echo(f"created a store in {store.root}")
    click.echo(f"back up {store.root / 'keys'} now, somewhere else: without it the records cannot be read")
    if passphrase:
        click.echo("keep the passphrase apart from that back-up: without it the back-up opens nothing")
    click.echo("lodge the checkpoint that `applog keys show` prints with somebody else")
