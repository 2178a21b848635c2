"""``applog keeper``."""

import click

from applog.commands import settings_of, store_of


@click.command("keeper")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Keep the store, in the foreground: seal, sign, delete what is due, verify each night.

    It answers at the socket keeper.sock in the data directory. `applog run` does all of it too; a store has
    one keeper.

    \b
        applog --config /etc/applog/applog.toml keeper
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.commands.service import log_to_stderr, until_stopped  # noqa: PLC0415  imports wait
    from applog.keeper import keeper  # noqa: PLC0415

    log_to_stderr()
    settings = settings_of(ctx)
    store = store_of(ctx)
    with keeper.running(store, settings):
        click.echo(f"keeping {store.root}; stop with Ctrl-C")
        until_stopped()
    click.echo("stopped")
