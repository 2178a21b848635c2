"""The verbs of ``applog``, one module each; and what they share."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from applog.audit import Actor
    from applog.settings import Settings
    from retention.store import Store


def settings_of(ctx: click.Context) -> "Settings":
    """The settings that the options before the verb and the environment give.

    Machine code is kept in the store from here on, unless the environment says where: any command may
    need some.
    """
    import os  # noqa: PLC0415  a command's imports wait until it runs

    from applog.settings import load  # noqa: PLC0415  as above

    settings = load(ctx.obj["config"], ctx.obj["data"])
    os.environ.setdefault("APPLOG_KERNEL_CACHE", str(settings.data_directory / "cache"))
    return settings


def store_of(ctx: click.Context) -> "Store":
    """The store that the command works on."""
    from retention.store import Store  # noqa: PLC0415  as above

    store = Store.open(settings_of(ctx).data_directory)
    store.make_keys_ahead()
    return store


def actor_of(ctx: click.Context) -> "Actor":
    """Who runs the command."""
    from applog.audit import Actor  # noqa: PLC0415  as above

    return Actor.current(ctx.obj["claimed_name"])
