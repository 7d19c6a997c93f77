"""Whom a request comes from: what a trusted proxy says, and what anybody else says."""

from __future__ import annotations

import pytest

from gpuyard.api.arrivals import Arrival, Arrivals
from gpuyard.api.errors import TlsNeeded
from gpuyard.api.heads import Head
from gpuyard.api.proxies import networks
from gpuyard.api.settings import Settings

PROXY, INNER, CLIENT = "192.0.2.1", "192.0.2.2", "198.51.100.7"
SETTINGS = Settings(network=True, behind_tls_proxy=True, trusted_proxies=(f"{PROXY}/31", "2001:db8::1", INNER))


def arrival(peer: str, *headers: tuple[str, str], settings: Settings = SETTINGS, scheme: str = "http") -> Arrival:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Arrivals(settings).of(peer, scheme, Head({"headers": raw}))


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ([CLIENT], CLIENT),
        ([f"{CLIENT}:4711"], CLIENT),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        ([f"::ffff:{CLIENT}"], CLIENT),
        ([f"{CLIENT}, {INNER}"], CLIENT),
        ([CLIENT, INNER], CLIENT),
        ([f"10.0.0.1, {CLIENT}"], CLIENT),
        ([f"127.0.0.1, {CLIENT}, {INNER}"], CLIENT),
        ([f"unknown, {INNER}"], INNER),
        ([f"{CLIENT}, nonsense"], PROXY),
        ([""], PROXY),
        ([], PROXY),
        ([f"{INNER}, {INNER}"], INNER),
    ],
)
def test_the_list_is_read_from_its_end_to_the_first_that_is_not_ours(hops: list[str], client: str) -> None:
    assert arrival(PROXY, *(("X-Forwarded-For", hop) for hop in hops)) == Arrival(client, "https")


def test_a_trusted_proxy_tells_scheme_and_name() -> None:
    told = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "gpu.lab"), ("X-Forwarded-For", CLIENT))
    assert arrival(PROXY, *told) == Arrival(CLIENT, "https", "gpu.lab")
    assert arrival("2001:db8::1", *told) == Arrival(CLIENT, "https", "gpu.lab")
    chain = (("X-Forwarded-Host", "evil.example, gpu.lab"), ("X-Forwarded-Proto", "http, https"))
    assert arrival(PROXY, *chain) == Arrival(PROXY, "https", "gpu.lab"), "what the nearest hop added counts"


def test_what_came_unencrypted_to_the_proxy_is_refused() -> None:
    for scheme in ("http", "HTTP", "ws", "https, http"):
        with pytest.raises(TlsNeeded, match="unencrypted"):
            arrival(PROXY, ("X-Forwarded-Proto", scheme))


def test_past_the_proxy_nobody_comes_but_this_machine() -> None:
    for peer in (CLIENT, "203.0.113.9", "testclient", ""):
        with pytest.raises(TlsNeeded, match="proxy only"):
            arrival(peer, ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "127.0.0.1"))
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert arrival(peer).scheme == "http"


def test_nobody_else_is_believed() -> None:
    told = (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil.example"))
    for settings in (Settings(), Settings(trusted_proxies=(PROXY,), ssl_cert="x")):
        assert arrival(CLIENT, *told, settings=settings, scheme="https") == Arrival(CLIENT, "https")
    assert arrival("127.0.0.1", *told, settings=Settings()) == Arrival("127.0.0.1", "http")


def test_a_proxy_may_speak_tls_to_a_server_that_speaks_it_too() -> None:
    settings = Settings(trusted_proxies=(PROXY,), ssl_cert="x")
    assert arrival(PROXY, ("X-Forwarded-For", CLIENT), settings=settings, scheme="https") == Arrival(CLIENT, "https")


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "gpu.lab", "192.0.2.1/33", "", "192.0.2"])
def test_what_no_proxy_can_be_named_by(text: str) -> None:
    with pytest.raises(ValueError):
        networks([text])
