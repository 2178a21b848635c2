"""``applog verify``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from applog.commands import actor_of, settings_of

if TYPE_CHECKING:
    from retention.store import Store
    from retention.verify import Check, Scope

FILES, ROWS = 5, 7
"""The checks that read much."""


@click.command("verify")
@click.option("--deep", is_flag=True, help="Recompute every row, tag, tree and chain, not only file digests.")
@click.option("--since", help="Only segments with records at or behind this; the ledger always whole.")
@click.option("--until", help="Only segments with records before this.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, readable=False),  # what cannot be read is an error of ours
    help="A checkpoint that was lodged elsewhere, as `applog keys show --out` writes it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for machines.")
@click.pass_context
def command(
    ctx: click.Context,
    deep: bool,
    since: str | None,
    until: str | None,
    checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Check that everything that was sealed is there, whole, and what was signed.

    Ends with exit code 3 when something is wrong, and says all of it. Nothing is changed.

    \b
        applog verify --deep --checkpoint lodged.note
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.search.when import parse_time  # noqa: PLC0415  imports wait until the command runs
    from retention.store import Store  # noqa: PLC0415
    from retention.verify import Scope  # noqa: PLC0415

    settings = settings_of(ctx)
    store = Store.open(settings.data_directory)
    now = store.clock()
    scope = Scope(
        deep=deep,
        since=parse_time(since, now=now, upper=False) if since else None,
        until=parse_time(until, now=now, upper=True) if until else None,
        anchor=_anchor(checkpoint) if checkpoint else None,
    )
    if deep:
        store.unlock()
    report = _Report(as_json=as_json, anchored=checkpoint is not None)
    error = _check(store, scope, report)
    _audit(ctx, store, scope, error)
    report.end(error)
    if error is not None:
        if as_json:
            sys.exit(error.exit_code)
        raise error


def _anchor(path: Path) -> bytes:
    from applog.errors import FileAccessError  # noqa: PLC0415  imports wait until the command runs

    try:
        return path.read_bytes()
    except OSError as error:
        raise FileAccessError(f"checkpoint {path}: {error.strerror}") from error


def _check(store: "Store", scope: "Scope", report: "_Report") -> Any:
    """Do every check; what is wrong, or None."""
    from applog.keeper.work import verifier  # noqa: PLC0415  imports wait until the command runs
    from retention.errors import RetentionError  # noqa: PLC0415

    try:
        for check in verifier(store, scope, report.progress).checks():
            report.show(check)
    except RetentionError as error:
        return error
    return None


class _Report:
    """What is printed: lines as the checks are done, or one object behind the last."""

    def __init__(self, *, as_json: bool, anchored: bool) -> None:
        self._as_json = as_json
        self._anchored = anchored
        self._checks: list[Check] = []
        self._bar: Any = None

    def progress(self, done: int, total: int) -> None:
        """Move the bar; a new one for each check that reads much."""
        if self._bar is None:
            shown = sys.stderr.isatty() and not self._as_json
            name = "files" if len(self._checks) < FILES else "rows"
            self._bar = click.progressbar(length=total, label=name, file=sys.stderr, hidden=not shown)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def show(self, check: "Check") -> None:
        """Print *check*, just done."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
        self._checks.append(check)
        if self._as_json:
            return
        word = "FAILED" if check.failures else "ok"
        click.echo(f"{word:<6} {check.number} {check.says}")
        for failure in check.failures:
            click.echo(f"       {failure}", err=True)

    def end(self, error: Any) -> None:
        """Print the summary."""
        if self._as_json:
            self._print_json(error)
        elif error is None:
            click.echo("everything that is sealed is there, whole, and what was signed")
            if not self._anchored:
                from retention.verify import UNANCHORED  # noqa: PLC0415  imports wait

                click.echo(UNANCHORED)

    def _print_json(self, error: Any) -> None:
        import json  # noqa: PLC0415  imports wait until the command runs

        checks = [
            {
                "number": check.number,
                "says": check.says,
                "ok": not check.failures,
                "failures": [str(failure) for failure in check.failures],
            }
            for check in self._checks
        ]
        whole = {
            "ok": error is None,
            "anchored": self._anchored,
            "error": None if error is None else str(error),
            "checks": checks,
        }
        click.echo(json.dumps(whole, ensure_ascii=False))


def _audit(ctx: click.Context, store: "Store", scope: "Scope", error: Any) -> None:
    """Record that it was verified; a store that is too broken for that is still told about."""
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from retention.errors import RetentionError  # noqa: PLC0415

    try:
        audit.record(
            store,
            actor_of(ctx),
            action="verify",
            outcome="success" if error is None else "failure",
            query="deep" if scope.deep else None,
            since=scope.since,
            until=scope.until,
            reason=None if error is None else str(error),
        )
    except RetentionError as failure:
        click.echo(f"this verification is not in the audit records: {failure}", err=True)
