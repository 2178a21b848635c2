"""How much is recorded. What a profile leaves out is not even decoded (PDPA section 22)."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One recording profile."""

    name: str
    names: bool
    """Server names: TLS SNI and ALPN, HTTP host, method, status and user agent."""
    dns: bool
    """DNS transactions, and names of flows after them."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="minimum", names=False, dns=False),
        Profile(name="standard", names=True, dns=False),
        Profile(name="detailed", names=True, dns=True),
    )
}
"""By name. ``standard`` is the default."""
