"""Where commands get a new passphrase from: a file, or the person at the terminal, twice."""

import os
from pathlib import Path

import click

from applog.errors import FileAccessError


def new_passphrase(file: Path | None = None) -> str:
    """A new passphrase: from *file*, else the one that APPLOG_PASSPHRASE_FILE names, else from the terminal.

    Raises:
        FileAccessError: the file cannot be read.
    """
    from retention.keys.master import PASSPHRASE_FILE  # noqa: PLC0415  imports wait until a command runs

    named = file or (Path(os.environ[PASSPHRASE_FILE]) if os.environ.get(PASSPHRASE_FILE) else None)
    if named is None:
        return typed_passphrase()
    try:
        return named.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
        raise FileAccessError(f"passphrase file {named}: {reason}") from None


def typed_passphrase() -> str:
    """A new passphrase from the terminal."""
    return str(
        click.prompt("new passphrase of the store", hide_input=True, confirmation_prompt=True, err=True)
    )
