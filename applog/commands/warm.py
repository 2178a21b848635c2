"""``applog warm``."""

import time

import click

from applog.commands import settings_of


@click.command("warm")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Compile the kernels into their caches, so that the first import and sealing start at once.

    \b
        applog warm
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.capture import kernel  # noqa: PLC0415  heavy
    from retention import digests, encoding  # noqa: PLC0415  heavy

    settings_of(ctx)  # says where the caches are
    for name, package in (("kernel", kernel), ("digests", digests), ("encoding", encoding)):
        started = time.monotonic()
        package.compiled()
        click.echo(f"{name} ready in {package.cache_directory()} after {time.monotonic() - started:.1f} s")
