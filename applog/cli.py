"""The ``applog`` command. Thin: commands parse, call the library, and print.

Rules:
    1. Our errors become ``applog: error: …`` and ``applog: hint: …`` on standard error and their exit code;
       anything else is a bug and crashes visibly.
    2. Nothing heavy is imported before a command that needs it runs: ``applog --help`` takes < 0.3 s.
"""

import importlib
import sys
from pathlib import Path

import click

from applog import __version__

_COMMANDS = {
    "demo": "applog.commands.demo",
    "expire": "applog.commands.expire",
    "import": "applog.commands.imports",
    "init": "applog.commands.init",
    "keeper": "applog.commands.keeper",
    "keys": "applog.commands.keys",
    "prove": "applog.commands.prove",
    "run": "applog.commands.run",
    "seal": "applog.commands.seal",
    "search": "applog.commands.search",
    "status": "applog.commands.status",
    "verify": "applog.commands.verify",
    "warm": "applog.commands.warm",
}


class _LazyGroup(click.Group):
    """Loads a command's module when it is used or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{_COMMANDS[cmd_name]}.command is not a command")
        return command


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="applog")
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # what cannot be read is an error of ours
    envvar="APPLOG_CONFIG",
    help="Configuration file (TOML).",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, readable=False),
    envvar="APPLOG_DATA",
    help="Data directory.",
)
@click.option(
    "--as", "claimed_name", metavar="NAME", help="Who is asking, beside the system's user; audited."
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None, data: Path | None, claimed_name: str | None) -> None:
    """Keep, search and prove who used which address, as section 26 of the Computer-Related Crime Act asks."""
    ctx.obj = {"config": config, "data": data, "claimed_name": claimed_name}


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run the command line and exit with its code."""
    try:
        cli.main(arguments, prog_name="applog", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        _say_error("interrupted", "what was acknowledged is stored; run the command again to go on")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        _say_error(str(error), getattr(error, "hint", ""))
        sys.exit(code)


def _say_error(message: str, hint: str) -> None:
    click.echo(f"applog: error: {message}", err=True)
    if hint:
        click.echo(f"applog: hint: {hint}", err=True)
