"""Whom a request comes from, by which scheme and to which name: as the connection says it, or a trusted proxy.

Anybody may send `X-Forwarded-…`. They are believed only on a connection from an address that the operator named; in a
chain of proxies each hop adds the address before it, so the list is read from its end up to the first that is not ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpuyard.api.errors import TlsNeeded
from gpuyard.api.heads import Head
from gpuyard.api.proxies import Ip, networks, parsed, without_port
from gpuyard.api.settings import Settings


class Arrival(NamedTuple):
    """`address` is the sender's ("" when unknown), `host` the name it asked for when a proxy says so, else ""."""

    address: str
    scheme: str
    host: str = ""


class Arrivals:
    """How to read a connection and its head, for a server with these settings."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = networks(settings.trusted_proxies)
        self._only_by_proxy = settings.behind_tls_proxy and not settings.ssl_cert

    def of(self, peer: str, scheme: str, head: Head) -> Arrival:
        """Raises TlsNeeded for what came, or will come, unencrypted."""
        ip = parsed(peer)
        if ip is None or not self._is_trusted(ip):
            if self._only_by_proxy and not (ip is not None and ip.is_loopback):
                raise TlsNeeded("this server is reached through its TLS proxy only: use the proxy's https:// address")
            return Arrival(str(ip) if ip is not None else peer, scheme)
        told = last(head.all(b"x-forwarded-proto")).lower() or ("https" if self._only_by_proxy else scheme)
        if told != "https":
            raise TlsNeeded("the proxy says that this came unencrypted: use its https:// address")
        return Arrival(str(self._client(ip, head)), told, last(head.all(b"x-forwarded-host")))

    def _client(self, proxy: Ip, head: Head) -> Ip:
        """The nearest hop that is not ours; what can't be read was not written by one of ours."""
        nearest = proxy
        hops = [hop for line in head.all(b"x-forwarded-for") for hop in line.split(",")]
        for hop in reversed(hops):
            ip = parsed(without_port(hop.strip()))
            if ip is None:
                return nearest
            nearest = ip
            if not self._is_trusted(ip):
                return nearest
        return nearest

    def _is_trusted(self, ip: Ip) -> bool:
        return any(ip in network for network in self._trusted)


def last(lines: Sequence[str]) -> str:
    """What the nearest hop said."""
    return lines[-1].rpartition(",")[2].strip() if lines else ""
