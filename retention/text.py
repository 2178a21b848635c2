r"""Text that came from outside becomes text that is safe to store, hash and show.

Rules (FORMAT.md 1):
    1. Valid UTF-8 stays as it is, except C0 and C1 control characters, DEL and the backslash.
    2. Each byte of anything else is written ``\xHH`` with two lower-case hexadecimal digits, so that the
       original bytes can be read back and no two different inputs give one output.
"""

import re

_UNSAFE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\\\\ud800-\udfff]")


def wire_text(raw: bytes) -> str:
    r"""Text of *raw*, with whatever is not safe UTF-8 as ``\xHH``; never raises, loses nothing.

    >>> wire_text(b"caf\xc3\xa9\xff\n")
    'café\\xff\\x0a'
    """
    if raw.isascii() and b"\\" not in raw:
        text = raw.decode("ascii")
        if text.isprintable():
            return text
    return _UNSAFE.sub(_escape, raw.decode("utf-8", "surrogateescape"))


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))
