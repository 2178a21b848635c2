"""``applog prove``."""

import click

from applog.commands import actor_of, store_of


@click.command("prove")
@click.argument("positions", nargs=-1, required=True, metavar="POSITION...")
@click.option("--reason", help="Why you look; kept in the audit record.")
@click.pass_context
def command(ctx: click.Context, positions: tuple[str, ...], reason: str | None) -> None:
    """Print records with the proofs that they are what was sealed, one JSON object a line.

    A position is DATASET/SEGMENT:ROW. The proofs lead to the newest checkpoint (retention/FORMAT.md 9), and
    show nothing of other records. The objects `proof` and `ledger` are spelled, byte for byte, as a proof is.

    \b
        applog prove flow/12:345
    """  # noqa: D301  click reads \b as: do not wrap
    import msgspec  # noqa: PLC0415  imports wait until the command runs

    from applog import audit  # noqa: PLC0415
    from applog.errors import ApplogError  # noqa: PLC0415
    from applog.keeper.proofs import Position, prove  # noqa: PLC0415
    from retention.errors import RetentionError  # noqa: PLC0415
    from retention.ledger.view import read_ledger  # noqa: PLC0415

    store = store_of(ctx)
    actor = actor_of(ctx)
    query = " ".join(positions)
    try:
        wanted: dict[tuple[str, int], list[int]] = {}
        for position in map(Position.parse, positions):
            wanted.setdefault((position.dataset, position.sequence), []).append(position.row)
        view = read_ledger(store.root / "ledger")
        proved = [
            one for (name, number), rows in wanted.items() for one in prove(store, view, name, number, rows)
        ]
    except (ApplogError, RetentionError, OSError) as error:
        why = f"{reason} ({error})" if reason else str(error)
        audit.record(store, actor, action="prove", outcome="failure", query=query, reason=why)
        raise
    audit.record(
        store,
        actor,
        action="prove",
        outcome="success",
        query=query,
        reason=reason,
        results=len(proved),
        shown=len(proved),
    )
    for one in proved:
        click.echo(msgspec.json.encode(one))
