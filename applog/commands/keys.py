"""``applog keys``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from applog.commands import actor_of, settings_of, store_of

if TYPE_CHECKING:
    from retention.store import Store


@click.group("keys")
def command() -> None:
    """Show what others need to check this store, and exchange its keys.

    \b
        applog keys show --qr
    """  # noqa: D301  click reads \b as: do not wrap


@command.command("show")
@click.option("--qr", is_flag=True, help="The newest checkpoint as a QR code, to be photographed.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the newest checkpoint to this file."
)
@click.pass_context
def show(ctx: click.Context, qr: bool, out: Path | None) -> None:
    """Show the key that signs, and the newest checkpoint, to lodge them with somebody else.

    Whoever holds them notices later if the store was altered or rolled back: applog verify --checkpoint FILE.

    \b
        applog keys show --out lodged.note
    """  # noqa: D301  click reads \b as: do not wrap
    from applog.errors import FileAccessError  # noqa: PLC0415  imports wait until the command runs
    from retention.ledger.view import read_ledger  # noqa: PLC0415
    from retention.note import fingerprint  # noqa: PLC0415

    view = read_ledger(settings_of(ctx).data_directory / "ledger")
    text = view.signed.decode()
    click.echo(f"fingerprint  {fingerprint(view.state.key)}")
    click.echo(f"verifier key {view.state.key}")
    click.echo(f"checkpoint of {view.checkpoint.size:,} entries, {view.heads.time}:")
    click.echo(text, nl=False)
    if qr:
        import segno  # noqa: PLC0415  imports wait until the command runs

        code: segno.QRCode = segno.make_qr(text, error="l")
        code.terminal(sys.stdout, compact=True)
    if out is not None:
        try:
            out.write_bytes(view.signed)
        except OSError as error:
            raise FileAccessError(f"checkpoint file {out}: {error.strerror}") from error
        click.echo(f"wrote {out}")


@command.command("rotate-signing")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rotate_signing(ctx: click.Context, yes: bool) -> None:
    """Let a new key sign from now on; the old one signs that it may.

    \b
        applog keys rotate-signing
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.health import DATASETS  # noqa: PLC0415
    from retention.note import fingerprint  # noqa: PLC0415

    store = store_of(ctx)
    _confirm("Sign with a new key from now on?", yes=yes)
    audit.record(store, actor_of(ctx), action="rotate-signing", outcome="unknown")
    with store.ledger() as ledger:
        store.catalogue.refresh()
        ledger.rotate_signing_key(store.clock())
        store.sealer(ledger, DATASETS).sign_heads()
        key = ledger.state.key
    click.echo(f"fingerprint  {fingerprint(key)}")
    click.echo(f"verifier key {key}")
    click.echo("give the new verifier key to everybody who checks your proofs; old checkpoints stay valid")
    click.echo("lodge the new checkpoint with somebody else: applog keys show --out FILE")
    click.echo(f"back up {store.root / 'keys'} again, somewhere else: older back-ups cannot sign any more")


@command.command("rotate-master")
@click.option("--passphrase", is_flag=True, help="Put the new master key behind the store's passphrase.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rotate_master(ctx: click.Context, passphrase: bool, yes: bool) -> None:
    """Put every private key under a new master key. A power cut at any moment loses nothing.

    Without --passphrase the new master key lies in a file, also where the old one was behind a passphrase.

    \b
        applog keys rotate-master --passphrase
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.commands.passphrase import new_passphrase  # noqa: PLC0415
    from retention.keys import rotate_master as rotate  # noqa: PLC0415

    store = store_of(ctx)
    store.unlock()
    place = (
        "behind a passphrase" if passphrase else "in the file master.key, which whoever has the disk can read"
    )
    _confirm(f"Make a new master key, {place}?", yes=yes)
    chosen = new_passphrase() if passphrase else None
    audit.record(store, actor_of(ctx), action="rotate-master", outcome="unknown")
    rotate(store.master, chosen)
    click.echo(f"every private key is under a new master key, {place}")
    _say_new_master(store)


@command.command("set-passphrase")
@click.option(
    "--new",
    "file",
    type=click.Path(path_type=Path, readable=False),  # what cannot be read is an error of ours
    help="A file with the new passphrase; else it is asked for.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def set_passphrase(ctx: click.Context, file: Path | None, yes: bool) -> None:
    """Give the store a passphrase, or another one.

    A store that has one keeps its master key: in an old back-up the old passphrase still opens it, so
    rotate the master key too if somebody else may know it. A store that has none gets a new master key.

    \b
        applog keys set-passphrase
    """  # noqa: D301  click reads \b as: do not wrap
    from applog import audit  # noqa: PLC0415  imports wait until the command runs
    from applog.commands.passphrase import new_passphrase, typed_passphrase  # noqa: PLC0415
    from retention.keys import PassphraseMasterKey  # noqa: PLC0415
    from retention.keys import rotate_master as rotate  # noqa: PLC0415

    store = store_of(ctx)
    store.unlock()
    _confirm("Without the passphrase nobody can read the records. Set a new one?", yes=yes)
    current = store.master.current()
    has_one = isinstance(current, PassphraseMasterKey)
    # With a passphrase, the environment names the file with the present one.
    chosen = new_passphrase(file) if file is not None or not has_one else typed_passphrase()
    audit.record(store, actor_of(ctx), action="set-passphrase", outcome="unknown")
    if isinstance(current, PassphraseMasterKey):
        current.change(chosen)
    else:
        rotate(store.master, chosen)
    click.echo("the store has a new passphrase; keep it apart from the back-ups")
    _say_new_master(store)


def _say_new_master(store: "Store") -> None:
    click.echo(f"back up {store.root / 'keys'} again, somewhere else, and destroy older back-ups of it")
    click.echo("restart a running keeper; with a passphrase it needs APPLOG_PASSPHRASE_FILE, or a terminal")


def _confirm(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)
