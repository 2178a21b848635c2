"""The value of a comparison, read as its column's type.

Rules:
    1. A value that its column could never hold is refused with what was expected, never searched in vain.
    2. An address is of its own family: an IPv4-mapped IPv6 address is not the IPv4 address. A network with
       host bits is the network they are in.
    3. A number of bytes may have a unit: b, kb, mb, gb, tb in thousands, kib, mib, gib, tib in 1024s.
    4. Readers answer None for what they cannot read; the caller knows where it stood.
"""

import ipaddress
import re
from decimal import Decimal

from applog.search.tree import Span
from applog.search.when import ascii_digits

LARGEST = 2**63 - 1
"""The largest integer that a column holds."""

_THOUSANDS = {name: 1000**power for power, name in enumerate(("b", "kb", "mb", "gb", "tb"))}
_KIBI = {name: 1024**power for power, name in enumerate(("kib", "mib", "gib", "tib"), start=1)}
_UNITS = {"": 1, **_THOUSANDS, **_KIBI}
_NUMBER = re.compile(r"([0-9]{1,19})(\.[0-9]{1,9})?([a-z]*)")
_MAC = re.compile(
    r"[0-9a-f]{2}(?:(:[0-9a-f]{2}){5}|(-[0-9a-f]{2}){5})|([0-9a-f]{4}\.){2}[0-9a-f]{4}", re.IGNORECASE
)
_LABEL = re.compile(r"[a-z0-9-]+", re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False}


def read_integer(text: str, *, size: bool) -> int | None:
    """A whole number from 0; with *size* it may have a unit, and then a fraction."""
    found = _NUMBER.fullmatch(ascii_digits(text).lower())
    if found is None or found[3] not in (_UNITS if size else ("",)) or (found[2] and not found[3]):
        return None
    amount = Decimal(found[1] + (found[2] or "")) * _UNITS[found[3]]
    return int(amount) if amount == int(amount) and amount <= LARGEST else None


def read_boolean(text: str) -> bool | None:
    """``true`` or ``false``."""
    return _BOOLEANS.get(text.lower())


def read_mac(text: str) -> bytes | None:
    """Six bytes in hexadecimal with colons, hyphens or (in fours) dots."""
    return bytes.fromhex(re.sub("[:.-]", "", text)) if _MAC.fullmatch(text) else None


def read_address(text: str) -> bytes | None:
    """Four or sixteen bytes; a zone (``%eth0``) is not part of an address that is stored."""
    try:
        return None if "%" in text else ipaddress.ip_address(text).packed
    except ValueError:
        return None


def read_network(text: str) -> Span | None:
    """First to last address of a network, or an address alone."""
    try:
        if "%" in text:
            return None
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return Span(network.network_address.packed, network.broadcast_address.packed)


def idna(text: str) -> str:
    """*text* with labels outside ASCII as on the wire (``xn--…``), except where they hold a wildcard.

    Text that could be no host name stays as it is.
    """
    try:
        return ".".join(
            label if label.isascii() or set(label) & set("*?\\") else _wire_label(label)
            for label in text.split(".")
        )
    except UnicodeError:
        return text


def _wire_label(label: str) -> str:
    wire = label.encode("idna").decode("ascii")
    if not _LABEL.fullmatch(wire):
        raise UnicodeError(f"no host name has the label {label!r}")
    return wire
