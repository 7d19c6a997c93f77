"""The head of a request, looked at before anything else (DESIGN 11): bounds, Host, Origin, Sec-Fetch-Site.

A server on loopback is reachable by every web page that the user's browser shows: by a name that the attacker's DNS
points at 127.0.0.1 (Host), or by a form or script of another site (Origin, Sec-Fetch-Site). The requirement's
body-less POSTs need no preflight, so these checks are all that stands before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.api.errors import CrossSite, HeadTooLarge, Malformed, WrongHost
from gpuyard.api.settings import LOOPBACK_NAMES, Settings

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024

# Names whose presence says that a proxy stands between: then the peer's address proves nothing.
FORWARDING = frozenset(
    {b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip"}
)
# Of those, what is read when a proxy that is trusted sent it (arrivals.py).
TOLD = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
READ = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"x-request-id",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"authorization",
        b"x-api-key",
        b"cookie",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"x-csrf-token",
    }
)
OWN_SITE = frozenset({b"same-origin", b"none"})

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?)(?::([0-9]{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Head:
    """What the checks need of a request's head, from one pass over its headers."""

    __slots__ = ("bytes", "count", "forwarded", "host", "scope", "told_host", "values")

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.values: dict[bytes, list[bytes]] = {}
        self.forwarded = False
        self.bytes = 0
        self.host = ""
        self.told_host = ""
        self.count = len(scope["headers"])
        for name, value in scope["headers"]:
            self.bytes += len(name) + len(value)
            if name in READ:
                self.values.setdefault(name, []).append(value)
            elif name in FORWARDING or name.startswith(b"x-forwarded"):
                self.forwarded = True
                if name in TOLD:
                    self.values.setdefault(name, []).append(value)

    def all(self, name: bytes) -> list[str]:
        """Every value of `name`, in their order."""
        return [value.decode("latin-1") for value in self.values.get(name, ())]

    def one(self, name: bytes) -> str:
        """The only value of `name`, "" without one. Raises Malformed when there are several."""
        values = self.values.get(name, ())
        if len(values) > 1:
            raise Malformed(f"{name.decode()} stands in the request {len(values)} times")
        return values[0].decode("latin-1").strip(" \t") if values else ""

    @property
    def has_body(self) -> bool:
        """A body was announced (an empty one counts as none)."""
        length = self.values.get(b"content-length", [b"0"])[0].strip()
        return length != b"0" or b"transfer-encoding" in self.values

    def check(self, settings: Settings) -> None:
        """Raises HeadTooLarge, Malformed, WrongHost or CrossSite; sets `host`, the name without its port.

        `told_host`, when it is set before, is the Host that a trusted proxy was asked for."""
        self._check_size()
        self._check_target()
        authority = self._check_host(settings.allowed_hosts)
        self._check_site(authority, settings.allowed_origins)

    def _check_size(self) -> None:
        if self.count > MAX_HEADERS:
            raise HeadTooLarge(f"the request has {self.count} headers; at most {MAX_HEADERS} are allowed")
        if self.bytes > MAX_HEADER_BYTES:
            raise HeadTooLarge(f"the headers are longer than {MAX_HEADER_BYTES // 1024} KiB")
        if len(self.scope.get("raw_path") or b"") + len(self.scope["query_string"]) > MAX_TARGET_BYTES:
            raise HeadTooLarge(f"the address is longer than {MAX_TARGET_BYTES // 1024} KiB")

    def _check_target(self) -> None:
        if _CONTROL.search(self.scope["path"]):
            raise Malformed("the address holds control characters")
        if b"%00" in self.scope["query_string"]:
            raise InvalidInput("query: NUL is not allowed", field="query")
        if b"content-length" in self.values and b"transfer-encoding" in self.values:
            # A proxy in front may read the one and we the other: what follows could be a smuggled request.
            raise Malformed("a body has a Content-Length or a Transfer-Encoding, not both")

    def _check_host(self, allowed: Iterable[str]) -> str:
        authority = (self.told_host or self.one(b"host")).lower()
        match = _HOST.fullmatch(authority)
        if match is None or not (match[1] in LOOPBACK_NAMES or _is_named(match[1], allowed)):
            raise WrongHost("the Host header does not name this server: use its own address")
        self.host = match[1]
        return authority

    def _opens_a_page(self) -> bool:
        """Somebody follows a link to a page of ours, from a chat or a wiki: it changes nothing and runs in no frame."""
        return (
            self.scope["method"] == "GET"
            and not self.scope["path"].startswith("/api/")
            and self.values.get(b"sec-fetch-mode") == [b"navigate"]
            and self.values.get(b"sec-fetch-dest") == [b"document"]
        )

    def _check_site(self, authority: str, allowed: Iterable[str]) -> None:
        if self._opens_a_page():
            return
        # A page that came unencrypted may be anybody's.
        schemes = ("https",) if self.scope.get("scheme") == "https" else ("http", "https")
        for value in self.values.get(b"sec-fetch-site", ()):
            if value not in OWN_SITE:
                raise CrossSite("requests from other web sites are refused (Sec-Fetch-Site)")
        for value in self.values.get(b"origin", ()):
            origin = value.decode("latin-1").lower()
            scheme, _, rest = origin.partition("://")
            if origin not in allowed and (scheme not in schemes or rest != authority):
                raise CrossSite("requests from other web sites are refused (Origin)")


def _is_named(host: str, allowed: Iterable[str]) -> bool:
    return host in allowed or f"*.{host.partition('.')[2]}" in allowed
