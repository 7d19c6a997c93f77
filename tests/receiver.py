"""A receiver of webhooks: a real HTTP server that answers as it is told to and remembers what came."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from gpuyard.actors.cloud.webhooks import check
from tests.support import eventually


class Got(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


Behave = Callable[[http.server.BaseHTTPRequestHandler, int], None]


def answers(*statuses: int, **headers: str) -> Behave:
    """These one after the other, the last for ever."""

    def behave(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(statuses[min(number, len(statuses) - 1)])
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return behave


class Receiver:
    def __init__(self, server: http.server.ThreadingHTTPServer, scheme: str) -> None:
        self.server = server
        self.port = int(server.server_address[1])
        self.host = str(server.server_address[0])
        self.scheme = scheme
        self.got: list[Got] = []
        self.behave: Behave = answers(204)
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/hook"

    def wait(self, count: int, timeout: float = 30) -> list[Got]:
        eventually(lambda: len(self.got) >= count, timeout, f"{count} messages did not come: {self.got}")
        return list(self.got)

    def genuine(self, secret: str, now: float) -> None:
        """All that came is signed with `secret`."""
        for got in self.got:
            check(secret, got.headers, got.body, now)


@contextmanager
def receiver(host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.got.append(Got(self.path, headers, body))
            with suppress(OSError):
                made.behave(self, len(made.got) - 1)

        do_GET = do_CONNECT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that goes away, or whose certificate check fails, is expected here."""

    server = Server((host, port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Receiver(server, "https" if tls is not None else "http")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        thread.join(30)
        server.server_close()
