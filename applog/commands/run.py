"""``applog run``."""

import click

from applog.commands import actor_of, settings_of, store_of


@click.command("run")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Run the appliance in the foreground: import what is put into the inbox folder, and keep the store.

    The keeper's jobs run beside the inbox, so that a long import delays no sealing.

    \b
        applog --data ./data run
    """  # noqa: D301  click reads \b as: do not wrap
    import schedule  # noqa: PLC0415  imports wait until the command runs

    from applog.capture.profile import PROFILES  # noqa: PLC0415
    from applog.commands.service import log_to_stderr, until_stopped  # noqa: PLC0415
    from applog.commands.status import show_status  # noqa: PLC0415
    from applog.inbox import Inbox  # noqa: PLC0415
    from applog.keeper import keeper  # noqa: PLC0415
    from applog.pipeline import Importer  # noqa: PLC0415

    log_to_stderr()
    settings = settings_of(ctx)
    store = store_of(ctx)
    importer = Importer(store=store, actor=actor_of(ctx), profile=PROFILES[settings.capture.profile])
    inbox = Inbox(folder=settings.inbox_folder, importer=importer)
    inbox.prepare()
    show_status(store, settings)  # damage is said and stops nothing: the next import sets a torn end aside
    jobs = schedule.Scheduler()
    jobs.every(settings.inbox.every_seconds).seconds.do(inbox.look)
    with keeper.running(store, settings):
        click.echo(f"watching {inbox.folder} for captures; stop with Ctrl-C")
        until_stopped(jobs.run_pending)
    click.echo("stopped")
