"""What may be asked through the keeper's socket, and what is said back. Pure: no socket, no store.

Rules:
    1. One line of JSON a request, at most ``MAX_REQUEST`` bytes, one line an answer. Unknown words are
       refused.
    2. Who asks for records says in which role and for what purpose; a user without a role gets nothing.
    3. An answer is ``{"ok":true,…}``, or ``{"ok":false,"error":word,"says":text}``, word one of
       ``REFUSALS``.
"""

from typing import Annotated, Any, TypeAlias

import msgspec

from applog.keeper.roles import ROLES, may_act_as, may_prove, may_see

MAX_REQUEST = 64 << 10
MAX_ROWS = 1_000
"""Rows that one request can have proved."""
NO_ROLE = "this user was given no role: [keeper.readers] of the configuration names them"
REFUSALS = ("malformed", "denied", "busy", "unknown", "failed")

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Purpose = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, pattern=r"\S")]
_Time = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Refusal(Exception):  # noqa: N818  an answer, not a failure of ours
    """A request that is answered with a no."""

    def __init__(self, word: str, says: str) -> None:
        super().__init__(says)
        self.word = word


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True):
    pass


class StatusRequest(_Request, frozen=True, kw_only=True, tag="status"):
    """How the keeper is."""


class _Look(_Request, frozen=True, kw_only=True):
    role: str
    """As what the asker looks: operator, auditor or custodian."""
    purpose: _Purpose
    """Why; kept in the audit record."""
    name: _Text | None = None
    """Who looks, if the asker asks for others; said, not proved."""


class OpenRequest(_Look, frozen=True, kw_only=True, tag="open"):
    """The sealed segments of a range, each with the key of its file alone."""

    dataset: _Text
    since: _Time | None = None
    """Only segments with records at or behind this, UTC µs."""
    until: _Time | None = None
    """Only segments with records before this."""


class FollowRequest(_Look, frozen=True, kw_only=True, tag="follow"):
    """Rows of the open journals behind a position."""

    dataset: _Text
    position: dict[_Text, tuple[_Number, _Number]] = {}
    """Writer → file and frame up to which the asker knows its rows; as the last answer gave it."""


class ProveRequest(_Look, frozen=True, kw_only=True, tag="prove"):
    """Proofs of rows of a segment."""

    segment: tuple[_Text, _Number]
    """Dataset and sequence."""
    rows: Annotated[tuple[_Number, ...], msgspec.Meta(min_length=1, max_length=MAX_ROWS)]


LookRequest: TypeAlias = OpenRequest | FollowRequest | ProveRequest
Request: TypeAlias = StatusRequest | LookRequest

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def parse(line: bytes) -> Request:
    """The request in *line*.

    Raises:
        Refusal: it is none.
    """
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("malformed", str(error)) from error


def dataset_of(request: LookRequest) -> str:
    """The dataset whose records are asked for."""
    return request.segment[0] if isinstance(request, ProveRequest) else request.dataset


def authorize(request: Request, given: str | None) -> None:
    """Let *request* pass, of a user whose role is *given*.

    Raises:
        Refusal: it is not allowed.
    """
    if given is None:
        raise Refusal("denied", NO_ROLE)
    if isinstance(request, StatusRequest):
        return
    if request.role not in ROLES:
        raise Refusal("malformed", f"role: expected {', '.join(ROLES)}; found {request.role!r}")
    if not may_act_as(given, request.role):
        raise Refusal("denied", f"this user may ask as {given}, not as {request.role}")
    if not may_see(request.role, dataset_of(request)):
        raise Refusal("denied", f"an {request.role} does not see {dataset_of(request)}")
    if isinstance(request, ProveRequest) and not may_prove(request.role):
        raise Refusal("denied", f"an {request.role} gets no proofs")


def described(request: LookRequest) -> str:
    """What the audit record says was asked."""
    if isinstance(request, ProveRequest):
        name, sequence = request.segment
        what = f"prove {name}/{sequence:08d}:{','.join(map(str, request.rows))}"
    else:
        what = f"{'open' if isinstance(request, OpenRequest) else 'follow'} {request.dataset}"
    return f"{what} as {request.role}"


def answered(answer: dict[str, Any]) -> bytes:
    """The line of an answer."""
    return msgspec.json.encode({"ok": True, **answer}) + b"\n"


def refused(refusal: Refusal) -> bytes:
    """The line of a refusal."""
    return msgspec.json.encode({"ok": False, "error": refusal.word, "says": str(refusal)}) + b"\n"
