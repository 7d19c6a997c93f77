"""Sends messages: a thread with an event loop of its own, so that no receiver, however slow, delays an actor.

The name of the receiver is resolved here, every address it means is looked at, and the connection goes to exactly the
one that was looked at, while TLS and the `Host` header keep the name: a name that means something else a moment later
gains nothing. No proxy, no redirect, no cookie; of an answer little more than its status is read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

import httpx2

from gpuyard.actors.loop_thread import LoopThread
from gpuyard.actors.model.webhooks import address, signing
from gpuyard.actors.model.webhooks.address import Network
from gpuyard.actors.model.webhooks.records import Outcome

log = logging.getLogger("gpuyard.webhooks")
logging.getLogger("httpx2").setLevel(logging.WARNING)
logging.getLogger("httpcore2").setLevel(logging.WARNING)

SECONDS: Final = 15.0
RESOLVE_SECONDS: Final = 5.0
# Of an answer's body, in bytes; the rest is not read.
MOST_READ: Final = 4_096
AT_ONCE: Final = 64
RESOLVERS: Final = 16
CONNECT_SECONDS: Final = 5.0
MOST_TRIED: Final = 3

Resolve = Callable[[str, int], Sequence[str]]


class Parcel(NamedTuple):
    """A message to be sent: its id, where to, what, and the secret that signs it."""

    id: str
    url: str
    body: bytes
    secret: str

    def __repr__(self) -> str:
        return f"Parcel({self.id}, {self.url})"


class NotSent(Exception):
    """The text says why, for the webhook's owner."""


def addresses(host: str, port: int) -> Sequence[str]:
    """What `host` means to this machine, in the order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def chosen(found: Sequence[str], allowed: Sequence[Network], scheme: str) -> list[str]:
    """The addresses to try. Raises NotSent: one that is not public is enough, whatever else the name means."""
    for text in found:
        why = address.why_not(text, allowed)
        if why:
            raise NotSent(f"nothing is sent there: {why}")
        if scheme != "https" and not address.is_allowed(ip_address(text), allowed):
            raise NotSent("nothing is sent there: without https only to networks that the server's settings name")
    if not found:
        raise NotSent("its name has no address")
    return list(found[:MOST_TRIED])


class Sender:
    """`allowed` are networks that the administrator lets webhooks reach, `resolve` finds the addresses of a name;
    `tls` is how certificates are looked at (None: as this machine does)."""

    def __init__(
        self, allowed: Sequence[Network] = (), resolve: Resolve = addresses, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve
        self._tls = tls
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._resolvers = asyncio.Semaphore(RESOLVERS)
        self._client: httpx2.AsyncClient | None = None
        self._thread = LoopThread("webhooks", self._close)

    def start(self) -> None:
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Have this done in the loop, unless `stop` comes first. From any thread."""
        self._thread.do(work)

    def stop(self) -> None:
        """Give up what is under way and end the thread."""
        self._thread.stop()

    # --- in the thread -----------------------------------------------------------------------------------------

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def attempt(self, parcel: Parcel) -> Outcome:
        """Send it once. In the loop."""
        began = time.monotonic()
        status: int | None = None
        retry_after: float | None = None
        try:
            async with self._slots, asyncio.timeout(SECONDS):
                status, retry_after = await self._post(parcel)
            why = _words(status)
        except TimeoutError:
            why = f"no answer within {SECONDS:g} s"
        except NotSent as error:
            why = str(error)
        except ssl.SSLError as error:
            why = f"TLS failed: {error.reason or type(error).__name__}"
        except httpx2.InvalidURL:
            why = "it is no address that can be used"
        except (httpx2.HTTPError, OSError, ValueError) as error:
            why = f"it cannot be reached: {type(error).__name__} {str(error)[:200]}".rstrip()
        return Outcome(status=status, why=why, seconds=round(time.monotonic() - began, 3), retry_after=retry_after)

    async def _post(self, parcel: Parcel) -> tuple[int, float | None]:
        url = httpx2.URL(parcel.url)
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        there = chosen(await self._addresses(host, port), self._allowed, url.scheme)
        stamp = int(time.time())
        headers = {
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "gpuyard-webhooks/1",
            "webhook-id": parcel.id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": signing.sign(parcel.secret, parcel.id, stamp, parcel.body),
        }
        while True:
            try:
                return await self._post_to(url.copy_with(host=there.pop(0)), host, headers, parcel.body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if not there:
                    raise

    async def _post_to(
        self, url: httpx2.URL, name: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, float | None]:
        """`url` holds an address; the certificate must be that of `name`."""
        extensions = {"sni_hostname": name}
        request = self._open().stream("POST", url, content=body, headers=headers, extensions=extensions)
        async with request as answer:
            await _read_some(answer)
            return answer.status_code, _retry_after(answer.headers.get("retry-after", ""))

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                verify=self._tls if self._tls is not None else ssl.create_default_context(),
                timeout=httpx2.Timeout(SECONDS, connect=CONNECT_SECONDS),
                # A connection is never used twice: another name may have the same address.
                limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
                follow_redirects=False,
                trust_env=False,
            )
        return self._client

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        """In a thread that nobody waits for at the end: a resolver may hang for long."""
        async with self._resolvers:
            future: asyncio.Future[Sequence[str]] = self._thread.loop.create_future()

            def work() -> None:
                try:
                    found, error = self._resolve(host, port), None
                except (OSError, ValueError) as failed:
                    found, error = (), failed
                with suppress(RuntimeError):  # the loop has been closed
                    self._thread.loop.call_soon_threadsafe(_settle, future, found, error)

            threading.Thread(target=work, name="webhooks-resolve", daemon=True).start()
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    return await future
            except TimeoutError:
                raise NotSent(f"its name was not found within {RESOLVE_SECONDS:g} s") from None
            except (OSError, UnicodeError) as error:
                raise NotSent(f"its name cannot be found: {error}") from None


def _settle(future: asyncio.Future[Sequence[str]], found: Sequence[str], error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(found)


async def _read_some(answer: httpx2.Response) -> None:
    """So that a receiver which closes only then hears no broken connection; never more than a little."""
    read = 0
    async for piece in answer.aiter_raw():
        read += len(piece)
        if read >= MOST_READ:
            return


def _words(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"it answered {status}: redirects are not followed"
    return f"it answered {status}"


def _retry_after(text: str) -> float | None:
    """Seconds; a date is not heeded."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
