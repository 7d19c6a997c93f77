"""A real HTTP server that answers from a script and records what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Answer(NamedTuple):
    """One scripted answer; `break_off` closes the connection instead, `raw` is a body that is not JSON."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = {}
    raw: bytes | None = None
    break_off: bool = False


Script = Answer | Callable[[Asked], Answer]


class Recorder:
    """`on("GET", "/api/jobs", Answer(…), …)` scripts a route: its answers in turn, the last one again and again.

    With `tls` it speaks that."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self._lock = threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                recorder.handle(self)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that leaves early is part of the tests."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def on(self, method: str, path: str, *answers: Script) -> None:
        self._scripts[method, path] = list(answers)

    def of(self, method: str, path: str) -> list[Asked]:
        """What was asked at one route."""
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(length)
        asked = Asked(
            handler.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in handler.headers.items()},
            json.loads(raw) if raw else None,
        )
        with self._lock:
            self.asked.append(asked)
            script = self._scripts.get((asked.method, asked.path))
            found = (script.pop(0) if len(script) > 1 else script[0]) if script else None
        answer = found(asked) if callable(found) else found
        if answer is None:
            answer = Answer({"detail": "there is nothing at this address", "code": "not_found"}, 404)
        self._send(handler, answer)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.break_off:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        body = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def job(job_id: str = "aaaaaaaaaaaa", **changes: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": 1,
        "job_id": job_id,
        "user_id": 1,
        "team_id": None,
        "provider": "local",
        "config_name": "tiny",
        "job_type": "local",
        "target": "auto",
        "priority": 30,
        "priority_name": "urgent",
        "priority_override": None,
        "effective_priority": 30,
        "status": "pending",
        "phase": None,
        "position": 1,
        "queued_at": "2026-11-22T02:05:00.000Z",
        "started_at": None,
        "completed_at": None,
        "estimated_cost": 0.0,
        "requires_approval": False,
        "approval_id": None,
        "attempt": 1,
        "max_attempts": 3,
        "error_message": None,
        "num_processes": 1,
        "allocated_gpus": None,
        "worker_id": None,
        "reasons": [],
        "metadata": {},
        "name": None,
        "held": False,
        "exit_code": None,
        "exit_class": None,
        "command": None,
        "attempts": [],
        "events": [],
        **changes,
    }
