"""``applog import``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, settings_of, store_of

if TYPE_CHECKING:
    from applog.pipeline import Importer, ImportReport


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, allow_dash=True, readable=False),  # open_capture says it with a hint
    metavar="FILE...",
)
@click.option(
    "--profile", type=click.Choice(["minimum", "standard", "detailed"]), help="How much is recorded."
)
@click.option("--again", is_flag=True, help="Import a file although it was imported before.")
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], profile: str | None, again: bool) -> None:
    """Read captures (pcap, pcapng; plain, .gz or .zst; - for a pipe) and keep their traffic records.

    An import that was interrupted goes on where it stopped when it is run again.

    \b
        applog import monday.pcap.gz --profile detailed
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.capture.profile import PROFILES  # noqa: PLC0415  imports wait until the command runs
    from applog.pipeline import Importer  # noqa: PLC0415

    settings = settings_of(ctx)
    store = store_of(ctx)
    chosen = PROFILES[profile or settings.capture.profile]
    importer = Importer(store=store, actor=actor_of(ctx), profile=chosen, again=again)
    if len(files) == 1:
        import_one(importer, files[0])
        return
    failures = [error for path in files if (error := _import_or_say_why_not(importer, path)) is not None]
    if failures:
        click.echo(f"applog: error: {len(failures)} of {len(files)} files were not imported", err=True)
        sys.exit(max(getattr(error, "exit_code", 1) for error in failures))


def _import_or_say_why_not(importer: "Importer", path: Path) -> Exception | None:
    """Import *path*; what stops it is said and answered if it concerns this file alone."""
    from applog.errors import ApplogError  # noqa: PLC0415  imports wait until the command runs

    try:
        import_one(importer, path)
    except ApplogError as error:
        click.echo(f"not imported: {error}", err=True)
        return error
    return None


def import_one(importer: "Importer", path: Path) -> None:
    """Import *path* with a progress bar, and print what was done."""
    from applog.pipeline import open_capture  # noqa: PLC0415  imports wait until the command runs

    with open_capture(path) as stream:
        size = path.stat().st_size if path.is_file() else 0
        shown = sys.stderr.isatty() and size > 0
        with click.progressbar(length=size, label=path.name, file=sys.stderr, hidden=not shown) as bar:
            report = importer.run(path, stream, lambda done: bar.update(done - bar.pos))
    _print(report)


def _print(report: "ImportReport") -> None:
    counts = ", ".join(f"{count:,} {name}" for name, count in report.rows.items()) or "no records"
    resumed = f"; {report.resumed:,} of them were there from an interrupted import" if report.resumed else ""
    click.echo(f"{report.path}: {report.packets:,} packets; {counts}{resumed}")
    for loss in report.losses:
        click.echo(f"  not recorded: {loss}")
