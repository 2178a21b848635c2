"""``applog run``."""

import logging
import signal
import threading
from collections.abc import Callable

import click

from applog.commands import actor_of, settings_of, store_of, use_kernel_cache
from retention.text import wire_text


class _Formatter(logging.Formatter):
    """Escapes what names of files could bring: no message moves the cursor or forges a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        record.message = wire_text(record.message.encode("utf-8", "surrogateescape"))
        return super().formatMessage(record)


@click.command("run")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Run the appliance in the foreground: show status and import what is put into the inbox folder.

    \b
        applog --data ./data run
    """  # noqa: D301  click reads \b as: do not wrap
    import schedule  # noqa: PLC0415  imports wait until the command runs

    from applog.capture.profile import PROFILES  # noqa: PLC0415
    from applog.commands.status import show_status  # noqa: PLC0415
    from applog.inbox import Inbox  # noqa: PLC0415
    from applog.pipeline import Importer  # noqa: PLC0415

    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("schedule").setLevel(logging.WARNING)
    settings = settings_of(ctx)
    use_kernel_cache(settings.data_directory)
    store = store_of(ctx)
    importer = Importer(store=store, actor=actor_of(ctx), profile=PROFILES[settings.capture.profile])
    inbox = Inbox(folder=settings.inbox_folder, importer=importer)
    inbox.prepare()
    show_status(store)  # damage is said and does not stop it: the next import sets a torn end aside
    click.echo(f"watching {inbox.folder} for captures; stop with Ctrl-C")
    jobs = schedule.Scheduler()
    jobs.every(settings.inbox.every_seconds).seconds.do(inbox.look)
    jobs.every().hour.do(store.make_keys_ahead)
    _until_stopped(jobs.run_pending)
    click.echo("stopped")


def _until_stopped(work: Callable[[], None]) -> None:
    """Call *work* four times a second until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0.25):
        work()
