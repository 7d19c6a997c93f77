"""The HTTP side of the client: one kept connection, time limits, repeats of what is safe to repeat, errors in words.

Built on http.client: the same command with httpx2 takes about a third longer to start, and nothing here needs more
than the standard library has.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from gpuyard.cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    import ssl

DEFAULT_SERVER: Final = "http://127.0.0.1:8000"
CONNECT_SECONDS: Final = 5.0
TRIES: Final = 4
MAX_ANSWER: Final = 256 * 1024 * 1024
_EXITS = {401: ExitCode.NOT_ALLOWED, 403: ExitCode.NOT_ALLOWED, 404: ExitCode.NOT_FOUND, 409: ExitCode.WRONG_STATE}
_EXITS |= {400: ExitCode.USAGE, 413: ExitCode.USAGE, 415: ExitCode.USAGE, 422: ExitCode.USAGE, 431: ExitCode.USAGE}
_EXITS |= {408: ExitCode.UNREACHABLE, 421: ExitCode.UNREACHABLE, 503: ExitCode.UNREACHABLE}
_DO = {
    401: "give a token: gpuyard login, --token-file FILE, or GPUYARD_TOKEN in the environment",
    403: "ask a lead or an admin",
    421: "use 127.0.0.1 or a name in its certificate; its administrator adds others (gpuyard server --allowed-host)",
    429: "wait a moment and try again",
    503: "try again in a moment; gpuyard doctor looks for the cause",
}

Query = dict[str, Any]


class Unreachable(Failure):
    """No answer: nothing listens there, the name is unknown, the connection broke or the time was up."""

    def __init__(self, url: str, why: str, do: str = "") -> None:
        do = do or "start it with `gpuyard server`, or name another one: --server URL (GPUYARD_SERVER)"
        super().__init__(f"cannot reach the server at {url}", why, do, ExitCode.UNREACHABLE)


class ApiError(Failure):
    """The server refused. `status` is the HTTP status, `code` the snake_case code, `answer` the whole body."""

    def __init__(self, what: str, status: int, answer: dict[str, Any]) -> None:
        self.status = status
        self.code = str(answer.get("code") or "")
        self.answer = answer
        why = str(answer.get("detail") or http.client.responses.get(status, f"HTTP status {status}"))
        if status >= 500 and answer.get("request_id"):
            why += f" (request {answer['request_id']})"
        do = _DO.get(status, "")
        if self.code == "too_many_pending":
            do = "wait, or cancel some of those that wait: gpuyard jobs cancel --status pending"
        super().__init__(what, why, do, _EXITS.get(status, ExitCode.REFUSED))


class Client:
    """Asks one server. `token` goes into a header, never into a URL or a message, and nowhere unencrypted but on this
    machine. `cacert` is a PEM file of those who may vouch for the server's certificate instead of the system's."""

    def __init__(
        self, server: str | None = None, token: str | None = None, timeout: float = 30.0, cacert: str | None = None
    ) -> None:
        self._token: str | None = None
        self._cacert = cacert or os.environ.get("GPUYARD_CACERT") or None
        self._tls: ssl.SSLContext | None = None
        self.url = (server or os.environ.get("GPUYARD_SERVER") or DEFAULT_SERVER).rstrip("/")
        self.timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        try:
            self._parts = urlsplit(self.url)
            self._port = self._parts.port
        except ValueError as error:
            raise _bad_url(self.url, str(error)) from None
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise _bad_url(self.url, "it must look like http://HOST:PORT")
        if self._parts.username or self._parts.password:
            raise _bad_url("(hidden)", "a password does not belong into a URL; use --token-file or GPUYARD_TOKEN")
        self.use(token)

    def use(self, token: str | None) -> None:
        """Ask with this token from now on. Raises Failure where others could read it on its way."""
        if token and not self.is_secret:
            raise Failure(
                f"the token is not sent to {self.url}",
                "it would travel unencrypted: whoever is in between could read it, and come in with it",
                "use the server's https:// address; one without TLS is reached through an SSH tunnel",
                ExitCode.USAGE,
            )
        self._token = token

    def twin(self, timeout: float | None = None) -> Client:
        """Another client of the same server, with a connection of its own."""
        return Client(self.url, self._token, self.timeout if timeout is None else timeout, self._cacert)

    @property
    def is_loopback(self) -> bool:
        host = self._parts.hostname or ""
        # Not by its beginning: 127.evil.example is a name, and anybody's.
        return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdecimal())

    @property
    def is_secret(self) -> bool:
        """Whether a token may travel there unread."""
        return self._parts.scheme == "https" or self.is_loopback

    def get(self, path: str, *, query: Query | None = None, what: str = "") -> Any:
        """The answer of a question; asked again when the connection breaks or the server is busy."""
        return self.request("GET", path, query=query, what=what, repeatable=True)

    def post(self, path: str, body: Any = None, *, query: Query | None = None, what: str = "", key: str = "") -> Any:
        """The answer of a command; with an idempotency `key` it is as safe to repeat as a question."""
        return self.request("POST", path, query=query, body=body, what=what, key=key, repeatable=bool(key))

    def patch(self, path: str, body: Any, *, what: str = "") -> Any:
        """The answer of a change; it says what shall be, so it is safe to repeat."""
        return self.request("PATCH", path, body=body, what=what, repeatable=True)

    def delete(self, path: str, *, query: Query | None = None, what: str = "") -> Any:
        return self.request("DELETE", path, query=query, what=what)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        what: str = "",
        key: str = "",
        repeatable: bool = False,
    ) -> Any:
        """Send one request and return its JSON. `what` says in words what fails with it.

        Raises ApiError (the server refused) and Unreachable (no answer).
        """
        headers = self.headers({"Accept": "application/json"} | ({"Idempotency-Key": key} if key else {}))
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")
            headers["Content-Type"] = "application/json"
        elif method == "POST":
            headers["Content-Length"] = "0"
        target = self.target(path, query)
        for left in range(TRIES - 1 if repeatable else 0, -1, -1):
            try:
                status, raw, after = self._exchange(method, target, headers, data)
            except Unreachable:
                raise
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not left:
                    raise Unreachable(self.url, broken(error, self.timeout), self._perhaps_tls(error)) from error
                time.sleep(0.1 * 2 ** (TRIES - left))
                continue
            if status in (429, 503) and left:
                time.sleep(min(after, 5.0))
                continue
            return self.judge(what or f"{method} {path} was refused", status, raw)
        raise AssertionError("unreachable")  # pragma: no cover

    def headers(self, more: dict[str, str]) -> dict[str, str]:
        """The headers of every request."""
        from gpuyard import __version__

        found = {"User-Agent": f"gpuyard/{__version__}", **more}
        if self._token:
            found["Authorization"] = f"Bearer {self._token}"
        return found

    def target(self, path: str, query: Query | None = None) -> str:
        """The request line's part for `path`; None and empty values of `query` are left out, true is `true`."""
        kept = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in (query or {}).items()
            if value is not None and value != ""
        }
        return self._parts.path + path + ("?" + urlencode(kept) if kept else "")

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A fresh open connection whose reads wait at most `timeout` seconds. Raises Unreachable."""
        host, patience = self._parts.hostname or "", min(CONNECT_SECONDS, timeout)
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            from gpuyard.cli import trust

            self._tls = self._tls or trust.context(self._cacert)
            connection = http.client.HTTPSConnection(host, self._port, timeout=patience, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, self._port, timeout=patience)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            if self._tls is not None:
                raise Unreachable(self.url, *trust.in_words(error, CONNECT_SECONDS)) from error
            raise Unreachable(self.url, broken(error, CONNECT_SECONDS)) from error
        assert connection.sock is not None
        connection.sock.settimeout(timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _perhaps_tls(self, error: Exception) -> str:
        """What helps where a server that speaks TLS was asked without it: it hangs up, or answers what is not HTTP."""
        timed_out = isinstance(error, TimeoutError)
        return "" if self._parts.scheme == "https" or timed_out else "if it speaks TLS, use its https:// address"

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], data: bytes | None
    ) -> tuple[int, bytes, float]:
        """Status, body and Retry-After (seconds) of one request over the kept connection."""
        if self._connection is None or self._connection.sock is None:
            self._connection = self.connect(self.timeout)
        self._connection.request(method, target, body=data, headers=headers)
        answer = self._connection.getresponse()
        raw = answer.read(MAX_ANSWER)
        after = answer.getheader("Retry-After") or ""
        if answer.will_close:
            self.close()
        return answer.status, raw, float(after) if after.isdecimal() else 1.0

    def judge(self, what: str, status: int, raw: bytes) -> Any:
        """The JSON in an answer, or the error that it stands for."""
        try:
            value = json.loads(raw) if raw else {}
        except ValueError:
            value = None
        if 200 <= status < 300 and value is not None:
            return value
        if status >= 300 and isinstance(value, dict) and ("detail" in value or "code" in value):
            raise ApiError(what, status, value)
        if status in (301, 302, 307, 308):
            do = "use the address that it leads to, most often the one with https://"
            raise Unreachable(self.url, f"it leads elsewhere (HTTP status {status})", do)
        raise Unreachable(self.url, f"something else answers there (HTTP status {status}, not gpuyard's JSON)")


def segment(value: str) -> str:
    """`value` as one part of a path, whatever characters it has."""
    return quote(value, safe="")


def broken(error: Exception, timeout: float) -> str:
    """A connection error in words."""
    if isinstance(error, socket.gaierror):
        return "no host of that name is known"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} seconds"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (connection refused)"
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return "the connection was closed before the answer came"
    if isinstance(error, http.client.HTTPException):
        return "something else answers there (not HTTP)"
    return str(error) or type(error).__name__


def _bad_url(url: str, why: str) -> Failure:
    return Failure(f"{url} is not a server's address", why, exit_code=ExitCode.USAGE)
