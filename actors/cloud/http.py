"""Calls to a provider's HTTP API: one client, and what each failure means for whoever called.

A request that surely had no effect (no connection, 429, 503) may be repeated; one whose answer never came may have
had its effect. A refused credential is no job's fault: no call will work until somebody mends it.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx2
import msgspec

from gpuyard.actors.cloud.provider import NotConfigured, Refused, Retryable

# One line a request would be most of the server's log.
logging.getLogger("httpx2").setLevel(logging.WARNING)
logging.getLogger("httpcore2").setLevel(logging.WARNING)

NOTHING_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
CONNECT_SECONDS: Final = 10.0
LONGEST_SAID: Final = 300


class Api:
    """`name` is the provider's, `headers` hold the credential: neither they nor an address's query is ever logged.
    `setting` is what the settings call its address."""

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        seconds: float,
        at_once: int,
        setting: str = "base_url",
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise NotConfigured(f"{setting} must begin with https:// or http://, not {base_url!r}")
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._shown = base_url.rpartition("@")[2]  # a name and password may stand before it
        self._headers = dict(headers)
        self._timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        self._limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        self._client: httpx2.AsyncClient | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
        **more: Any,
    ) -> httpx2.Response:
        """The answer, if its status is below 300 or one of `also`. Raises Retryable and Refused."""
        sent = dict(headers or {})
        if body is not None:
            content = msgspec.json.encode(body)
            sent["content-type"] = "application/json"
        try:
            answer = await self._open().request(method, self.base_url + path, content=content, headers=sent, **more)
        except NOTHING_SENT as error:
            raise Retryable(f"{self.name} cannot be reached at {self._shown}: {_words(error)}") from error
        except (httpx2.HTTPError, OSError) as error:
            raise Retryable(f"{self.name} did not answer: {_words(error)}", unsure=True) from error
        if answer.status_code < 300 or answer.status_code in also:
            return answer
        raise self._trouble(answer)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(headers=self._headers, timeout=self._timeout, limits=self._limits)
        return self._client

    def _trouble(self, answer: httpx2.Response) -> Exception:
        status, text = answer.status_code, f"{self.name} answers {answer.status_code}: {said(answer)}"
        if status in (401, 403):
            settings = f"token_file in [providers.{self.name.lower()}]"
            return Retryable(f"{text} (it refuses our token: is that in {settings} right?)", down=True)
        if status in (408, 425, 429):
            return Retryable(text, busy=True, retry_after=retry_after(answer.headers))
        if status == 503:
            after = retry_after(answer.headers)
            return Retryable(text, busy=after is not None, retry_after=after)
        if status >= 500:
            return Retryable(text, unsure=True)
        return Refused(text)


def data_of(answer: httpx2.Response) -> Any:
    """The JSON of an answer. Raises Retryable: a proxy's page is no answer."""
    try:
        return msgspec.json.decode(answer.content)
    except msgspec.DecodeError as error:
        raise Retryable(f"the answer is not JSON: {answer.text[:80]!r}", unsure=True) from error


def said(answer: httpx2.Response) -> str:
    """What a refusal says in words: `detail` or `title` of its JSON, else the last line of its text."""
    try:
        data = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        lines = answer.text.strip().splitlines()
        return lines[-1].strip()[:LONGEST_SAID] if lines else answer.reason_phrase
    if isinstance(data, dict):
        words = data.get("detail") or data.get("title") or data.get("error") or data.get("msg") or data
        return str(words)[:LONGEST_SAID]
    return str(data)[:LONGEST_SAID]


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds of a Retry-After (a number, or a date), None without one. Never more than an hour.

    >>> retry_after({"retry-after": "3"})
    3.0
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(text).timestamp()
        except ValueError:
            return None
        seconds = at - (time.time() if now is None else now)
    return min(3600.0, max(0.0, seconds))


def _words(error: BaseException) -> str:
    """An exception without what may hold a credential."""
    return f"{type(error).__name__}: {str(error)[:LONGEST_SAID]}".rstrip(": ")
