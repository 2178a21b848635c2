"""``applog warm``."""

import time

import click

from applog.commands import settings_of, use_kernel_cache


@click.command("warm")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Compile the capture kernel into its cache, so that the first import starts at once.

    \b
        applog warm
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.capture.kernel import cache_directory, compiled  # noqa: PLC0415  heavy

    use_kernel_cache(settings_of(ctx).data_directory)
    started = time.monotonic()
    compiled()
    click.echo(f"kernel ready in {cache_directory()} after {time.monotonic() - started:.1f} s")
