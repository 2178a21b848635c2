"""Asks a running keeper.

Rules:
    1. A keeper that is not there, does not answer in time, or refuses, is an error with words.
"""

import contextlib
import socket
from pathlib import Path
from typing import Any

import msgspec

from applog.errors import KeeperError
from applog.keeper.server import address_of

MAX_ANSWER = 256 << 20


def ask(root: Path, request: dict[str, Any], *, timeout: float = 30.0) -> dict[str, Any]:
    """The answer of the keeper of the store at *root*.

    Raises:
        KeeperError: it is not running, cannot be reached, or refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(timeout)
            with address_of(root) as address:
                door.connect(address)
            with contextlib.suppress(BrokenPipeError):  # sent away before that; the answer says why
                door.sendall(msgspec.json.encode(request) + b"\n")
            with door.makefile("rb") as stream:
                line = stream.readline(MAX_ANSWER)
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except OSError as error:
        raise KeeperError(f"the keeper of {root} cannot be asked: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise KeeperError(f"the keeper of {root} did not answer: {error}") from error
    if not answer.pop("ok", False):
        raise KeeperError(f"the keeper refused: {answer.get('says')}")
    return answer
