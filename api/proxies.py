"""Addresses as text: those of proxies that are trusted, and those that stand in headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and CIDRs. Raises ValueError, also for one that holds every address there is."""
    found = []
    for text in texts:
        network = ipaddress.ip_network(text.strip(), strict=False)
        if network.prefixlen == 0:
            raise ValueError(f"{text} names every address there is: anybody would be believed")
        found.append(network)
    return tuple(found)


def parsed(text: str) -> Ip | None:
    """An address, the IPv4 one where an IPv6 socket shows it as `::ffff:…`; None for anything else."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def neighbourhood(address: str) -> str:
    """What shares one allowance: an IPv4 address, or the /64 of an IPv6 one, since whoever has one has them all."""
    ip = parsed(address)
    return f"{ipaddress.ip_network((ip, 64), strict=False)}" if isinstance(ip, ipaddress.IPv6Address) else address


def without_port(hop: str) -> str:
    """`[::1]:80` and `192.0.2.7:80`, as some proxies write them, without the port."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
