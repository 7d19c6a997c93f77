"""The one middleware: what every request passes before a route sees it, in order.

request id → who forwards it → bounds, Host, Origin, Sec-Fetch-Site → identity → rate → body; and on the way back the
security headers, and an answer in the one error form for whatever was refused or went wrong. Pure ASGI: it costs a
fraction of a route.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from gpuyard.actors.model.errors import Busy, GpuyardError, Internal
from gpuyard.api import bodies
from gpuyard.api.arrivals import Arrivals
from gpuyard.api.errors import error_response
from gpuyard.api.heads import Head
from gpuyard.api.identity import Authenticator, Caller
from gpuyard.api.peer import Connection
from gpuyard.api.permissions import is_public
from gpuyard.api.proxies import neighbourhood
from gpuyard.api.ratelimit import RateLimiter
from gpuyard.api.settings import LOOPBACK_NAMES, Settings

log = logging.getLogger("gpuyard.api")

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

# How much of a refused body is still read, so that the client gets to read the answer; then the connection closes.
DRAIN = 1024 * 1024
SAFE = ("GET", "HEAD", "OPTIONS")

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cache-control", b"no-store"),
]
HSTS = (b"strict-transport-security", b"max-age=31536000")
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_from(head: Head) -> str:
    """The sender's X-Request-ID when it is harmless, else a new one."""
    sent = head.values.get(b"x-request-id", [b""])[0].decode("latin-1")
    return sent if _SANE_ID.fullmatch(sent) else secrets.token_hex(8)


class Guard:
    """Wraps the app; see the module. `changed` is called before whoever has changed something hears that it is done."""

    def __init__(
        self, app: Asgi, settings: Settings, authenticator: Authenticator, changed: Callable[[], None]
    ) -> None:
        self._app = app
        self._changed = changed
        self._settings = settings
        self._authenticator = authenticator
        self._arrivals = Arrivals(settings)
        self._rates = RateLimiter(settings.rate_per_second, settings.rate_burst)
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._changed)
        self._in_flight += 1
        try:
            await self._serve(exchange)
        except bodies.ClientGone:
            pass
        except GpuyardError as error:
            await exchange.refuse(error)
        except Exception as error:
            log.exception("%s: %s %s failed", exchange.request_id, scope["method"], scope["path"])
            if exchange.started:
                raise
            await exchange.refuse(Internal(type(error).__name__))
        finally:
            self._in_flight -= 1

    async def _serve(self, exchange: _Exchange) -> None:
        scope, head = exchange.scope, exchange.head
        if self._in_flight > self._settings.max_requests:
            raise Busy(f"{self._settings.max_requests} requests are being served: try again shortly")
        connection = scope["state"].get("connection") or Connection(scope.get("client"), scope.get("server"))
        self._arrive(exchange, connection)
        head.check(self._settings)
        await self._admit(exchange, connection)
        receive: Receive = exchange.receive
        if head.has_body:
            receive = exchange.replay(await bodies.read(head, exchange.receive, self._settings))
        await self._app(scope, receive, exchange.send)

    def _arrive(self, exchange: _Exchange, connection: Connection) -> None:
        """From here on the scope's `client` and `scheme` are those of the sender, whoever forwards for it."""
        scope, head = exchange.scope, exchange.head
        peer = connection.client[0] if connection.client else ""
        arrival = self._arrivals.of(peer, scope.get("scheme", "http"), head)
        head.told_host = arrival.host
        scope["scheme"] = arrival.scheme
        if arrival.address != peer:
            scope["client"] = (arrival.address, 0)

    async def _admit(self, exchange: _Exchange, connection: Connection) -> None:
        """Find out who asks (into the scope's state), within their rate."""
        scope = exchange.scope
        caller = Caller(exchange.head, connection)
        if is_public(scope["method"], scope["path"]):
            if not caller.on_loopback:
                self._rates.take(f"address {neighbourhood(caller.address)}")
            return
        try:
            identity = await self._authenticator.identify(caller)
        except GpuyardError:
            self._rates.take(f"address {neighbourhood(caller.address)}")
            raise
        if not identity.unlimited:
            self._rates.take(identity.key)
        scope["state"]["viewer"] = identity.viewer
        scope["state"]["scopes"] = identity.scopes
        scope["state"]["csrf"] = identity.csrf


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, changed: Callable[[], None]) -> None:
        self.scope = scope
        self._changed = changed
        self.head = Head(scope)  # type: ignore[arg-type]
        self.request_id = request_id_from(self.head)
        self.started = False
        self._closing = False
        self._receive = receive
        self._send = send
        self._all_read = not self.head.has_body
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def receive(self) -> Event:
        event = await self._receive()
        if event["type"] != "http.request" or not event.get("more_body", False):
            self._all_read = True
        return event

    def replay(self, body: bytes) -> Receive:
        """A `receive` that gives the body that was read already, then what else comes (the hang-up)."""
        given = False

        async def receive() -> Event:
            nonlocal given
            if given:
                return await self._receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return receive

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.started = True
            if self.scope["method"] not in SAFE and event["status"] < 400:
                self._changed()
            headers = list(event.get("headers", ()))
            present = {name for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in present]
            # Not for `localhost`: a browser would hold it against everything else that is served there.
            if self.scope.get("scheme") == "https" and self.head.host not in ("", *LOOPBACK_NAMES):
                headers.append(HSTS)
            headers.append((b"x-request-id", self.request_id.encode()))
            if self._closing or not self._all_read:
                headers.append((b"connection", b"close"))
            event = {**event, "headers": headers}
        await self._send(event)

    async def refuse(self, error: GpuyardError) -> None:
        """Answer `error`. A body that is still on its way is read a little first: closing a socket with unread
        data would reset it, and the client might never see why. After a malformed request nothing that follows on
        the connection can be trusted."""
        self._closing = error.code == "malformed"
        if not self._all_read and error.code != "request_timeout":
            await self._drain()
        answer = _to_log_in(self.scope) if error.code == "unauthenticated" else None
        await (answer or error_response(error, self.request_id))(self.scope, self._receive, self.send)

    async def _drain(self) -> None:
        seen = 0
        try:
            async with asyncio.timeout(1.0):
                while not self._all_read and seen < DRAIN:
                    seen += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def _to_log_in(scope: Scope) -> Response | None:
    """Whoever opens a page without being logged in is led there; programs get their 401."""
    accepts = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if scope["method"] != "GET" or b"text/html" not in accepts or scope["path"].startswith(("/api/", "/ui")):
        return None
    asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    return Response(None, 303, {"Location": f"/login?{urlencode({'next': asked})}"})
