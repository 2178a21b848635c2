"""Who looked at what, and why. The one door to the ``audit`` dataset for commands.

Rules:
    1. A look is recorded, durably, before its answer is shown.
    2. What was typed is kept as ``retention.text.wire_text``; an empty text is kept as absent.
    3. The actor is the operating system's user; a name given with ``--as`` is kept beside it, as a claim.
"""

import os
import pwd
from dataclasses import dataclass
from typing import Any

from retention.dataset import Record
from retention.records import AUDIT, Audit
from retention.store import Store
from retention.text import wire_text

WRITER = "cli"


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """The person behind a command."""

    user_id: str
    user_name: str
    claimed_name: str | None

    @classmethod
    def current(cls, claimed_name: str | None = None) -> "Actor":
        """The user of this process; behind sudo, the one who called it is told in ``SUDO_USER``."""
        return cls.of(os.getuid(), claimed_name or os.environ.get("SUDO_USER"))

    @classmethod
    def of(cls, number: int, claimed_name: str | None = None) -> "Actor":
        """The user with that *number*."""
        try:
            name = pwd.getpwuid(number).pw_name
        except KeyError:
            name = f"uid-{number}"
        return cls(user_id=str(number), user_name=name, claimed_name=claimed_name)


def record(store: Store, actor: Actor, **fields: Any) -> None:
    """Write one audit record; it is durable when this returns."""
    with store.writer(AUDIT, WRITER) as writer:
        writer.append(AUDIT.batch([entry(store.clock(), actor, **fields)]))


def entry(now: int, actor: Actor, **fields: Any) -> Record:
    """The audit record of what *actor* does at *now* (UTC µs)."""
    return Audit(
        timestamp=now,
        user_id=actor.user_id,
        user_name=actor.user_name,
        claimed_name=_kept(actor.claimed_name),
        **{name: _kept(value) for name, value in fields.items()},
    )


def _kept(value: Any) -> Any:
    return (wire_text(value.encode("utf-8", "surrogateescape")) or None) if isinstance(value, str) else value
