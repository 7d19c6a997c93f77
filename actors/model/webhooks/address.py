"""Which addresses a webhook may be sent to: public ones, and what the server's administrator allows.

Whoever adds a webhook makes this server speak to an address of their choice, from inside its network. So every
address that a name means is looked at: loopback, private, link-local (where clouds keep their metadata), carrier-grade
NAT, multicast, reserved and documentation ranges are refused, also where they are wrapped into an IPv6 address.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
GLOBAL_V6: Final = IPv6Network("2000::/3")  # all that is given out
TUNNELS: Final = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # 6to4 and Teredo hold IPv4 addresses
# Looks public and is none: the address of Azure's hosts inside each of its machines.
NEVER: Final = (IPv4Network("168.63.129.16/32"),)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError naming the one that is no network."""
    return tuple(ip_network(text) for text in texts)


def bare(address: Address) -> Address:
    """An IPv4 address that is wrapped into an IPv6 one, as itself.

    >>> bare(ip_address("::ffff:127.0.0.1")), bare(ip_address("64:ff9b::a9fe:a9fe"))
    (IPv4Address('127.0.0.1'), IPv4Address('169.254.169.254'))
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Has the administrator named a network that holds it?"""
    found = bare(address)
    return any(found in network for network in allowed)


def why_not(text: str, allowed: Iterable[Network] = ()) -> str:
    """Why nothing is sent to the address `text`; "" when it may be.

    >>> why_not("169.254.169.254")
    '169.254.169.254 is link-local, where clouds keep their metadata'
    """
    try:
        written = ip_address(text)
    except ValueError:
        return f"{text} is no address"
    address = bare(written)
    if is_allowed(address, allowed):
        return ""
    kind = _kind(address)
    return f"{text} is {kind}" if kind else ""


def _kind(address: Address) -> str:
    """What it is instead of public; "" when it is public."""
    if address.is_link_local:
        return "link-local, where clouds keep their metadata"
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified:
        return "no host's"
    if isinstance(address, IPv6Address):
        if any(address in tunnel for tunnel in TUNNELS):
            return "a tunnel to an IPv4 address"
        public = address in GLOBAL_V6 and address.is_global and not address.is_site_local
    else:
        public = address.is_global and not address.is_reserved and not any(address in net for net in NEVER)
    return "" if public else "private or reserved"
