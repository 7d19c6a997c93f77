"""Where a webhook goes: an https address without anything in it that would be sent to the wrong place."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from gpuyard.actors.model import bounds
from gpuyard.actors.model.webhooks import address
from gpuyard.actors.model.webhooks.address import Network

LONGEST: Final = 2_000
LOWEST_PORT: Final = 1_024
WEB_PORTS: Final = frozenset({80, 443})


def checked(value: object, allowed: Sequence[Network] = ()) -> str:
    """An address that may be tried; to what its name leads is looked at each time. Raises ValueError ("must …").

    http is for `allowed` networks only.
    """
    text = bounds.text(value, LONGEST)
    if not text.isascii() or "\\" in text or " " in text:
        raise ValueError("must be plain ASCII without spaces and backslashes")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError("must be an address such as https://example.com/hook") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("must be an address such as https://example.com/hook")
    if parts.scheme == "http" and not allowed:
        raise ValueError("must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password: what is sent is signed")
    if parts.fragment:
        raise ValueError("must not have a part behind #")
    if port is not None and port not in WEB_PORTS and port < LOWEST_PORT:
        raise ValueError(f"must have port 443 or one from {LOWEST_PORT}")
    _check_literal(host, allowed)
    return text


def _check_literal(host: str, allowed: Sequence[Network]) -> None:
    try:
        ip_address(host)
    except ValueError:
        return
    why = address.why_not(host, allowed)
    if why:
        raise ValueError(f"must be reachable from anywhere: {why}")


def short(url: str) -> str:
    """Whose it is, for the audit: what stands behind the host may be as good as a password.

    >>> short("https://hooks.example.com/services/T0/x?key=1")
    'https://hooks.example.com/…'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"
