"""A profile decides what is recorded; what it leaves out is not even copied."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from applog.capture.capfile import Packets
from applog.capture.kernel import Kernels
from applog.capture.kernel import columns as c
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo.captures import Packet
from applog.demo.datagrams import dhcp_exchange, dns_lookup
from applog.demo.names import Answer
from applog.demo.packets import Host
from applog.demo.streams import http_exchange, tls_session

CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21", name="phone")
ROUTER = Host(ip="10.20.0.1", mac="00-00-5e-00-53-01")
SERVER = Host(ip="203.0.113.10", mac=ROUTER.mac)
T = 1_785_722_400_000_000
PCAPS = Path(__file__).parents[2] / "pcaps"

KINDS = {
    "minimum": {c.P_DHCP4},
    "standard": {c.P_DHCP4, c.P_TLS, c.P_HTTP},
    "detailed": {c.P_DHCP4, c.P_TLS, c.P_HTTP, c.P_DNS},
}


def traffic() -> list[Packet]:
    """A lease, a lookup, a TLS session and an HTTP exchange."""
    answer = (Answer("a.example", 1, SERVER.ip),)
    return [
        *dhcp_exchange(CLIENT, ROUTER, start=T),
        *dns_lookup(CLIENT, ROUTER, "a.example", answer, start=T + 1_000_000),
        *tls_session(CLIENT, SERVER, "a.example", start=T + 2_000_000, client_port=1),
        *http_exchange(CLIENT, SERVER, "a.example", start=T + 3_000_000, client_port=2),
    ]


def test_standard_is_between_the_others() -> None:
    """Three profiles, named as in the settings, each knowing its own name."""
    assert list(PROFILES) == ["minimum", "standard", "detailed"]
    assert [(one.names, one.dns) for one in PROFILES.values()] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert all(name == one.name for name, one in PROFILES.items())


@pytest.mark.parametrize("profile", PROFILES)
def test_only_what_the_profile_wants_leaves_the_kernel(
    kernels: Kernels, packed: Callable[..., Packets], profile: str
) -> None:
    """Payload bytes that no decoder of the profile reads are not copied at all."""
    meter = Meter(kernels, PROFILES[profile], pool_rows=64)

    given_out = chain(meter.feed(packed(traffic())), meter.finish())
    kinds = {kind for one in given_out for kind in one.peeks[:, c.K_KIND].tolist()}

    assert kinds == KINDS[profile]


@pytest.mark.parametrize("profile", PROFILES)
def test_leases_are_recorded_in_every_profile(extracted: Callable[..., Any], profile: str) -> None:
    """Who held an address is what the law asks for."""
    assert len(extracted(traffic(), profile)["lease"]) == 1


def test_minimum_decodes_no_names(extracted: Callable[..., Any]) -> None:
    """No server name, no method, no DNS record: flows and leases only."""
    rows = extracted(traffic(), "minimum")

    assert not rows["dns"]
    words = ("domain", "tls", "http", "user_agent", "dns")
    assert not [name for row in rows["flow"] for name in row if any(word in name for word in words)]
    assert len(rows["flow"]) == 5


def test_standard_names_servers_but_records_no_lookups(extracted: Callable[..., Any]) -> None:
    """Names from TLS and HTTP, and no DNS transaction."""
    rows = extracted(traffic())

    assert not rows["dns"]
    assert [row["flow.domain_source"] for row in rows["flow"] if "destination.domain" in row] == [
        "sni",
        "http",
    ]


@pytest.mark.parametrize("profile", PROFILES)
def test_counts_do_not_depend_on_the_profile(extracted: Callable[..., Any], profile: str) -> None:
    """A profile takes names away, never packets."""
    counts = ("flow.id", "@timestamp", "event.end", "source.packets", "destination.bytes", "flow.end_reason")
    data = (PCAPS / "http-keep-alive.pcap").read_bytes()

    def some(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row.get(field) for field in counts) for row in extracted(data, name)["flow"]]

    assert some(profile) == some("standard")
