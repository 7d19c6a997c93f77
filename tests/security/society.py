"""A whole server in the test's process, with people of every level: real actors, the real link, a real Frontend.

Each person has tokens of every scope; `ask` sends one request and answers its status, also of a stream that goes on.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.supervisor import Supervisor
from gpuyard.api.frontend import Frontend
from gpuyard.api.process import bind
from gpuyard.cli import data_folder, frontend_wiring, posture, wiring
from gpuyard.cli.settings import ServerSettings
from gpuyard.transport.client import LinkClient
from tests.answering import cast
from tests.support import eventually

LEVELS = ("viewer", "researcher", "lead", "admin")
SCOPES = ("read", "submit", "admin")
LATER = "2100-01-01T00:00:00Z"
CONFIG = "train"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class Society:
    """`people[level]` and `people["other"]` (a researcher) are user ids; `tokens[who]` holds their token of all scopes,
    `tokens[who, scope]` one of a single scope."""

    def __init__(self, port: int, supervisor: Supervisor, folder: Path) -> None:
        self.port = port
        self.supervisor = supervisor
        self.folder = folder
        self.people: dict[str, int] = {}
        self.tokens: dict[Any, str] = {}

    def ask(self, method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if token is not None:
                sent["Authorization"] = f"Bearer {token}"
            data = None if body is None else json.dumps(body).encode()
            if data is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            kind = answer.getheader("Content-Type") or ""
            endless = kind.startswith("text/event-stream")
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, b"" if endless else answer.read())
        finally:
            connection.close()

    def must(self, method: str, path: str, token: str | None = None, body: Any = None) -> Any:
        """The body of an answer that must be 200."""
        answer = self.ask(method, path, token, body)
        assert answer.status == 200, (method, path, answer.status, answer.raw)
        return answer.body

    def settle(self) -> None:
        """Let in an admin, a lead, a researcher, a viewer and another researcher, with tokens of every scope."""
        root = self.must("POST", "/api/users", None, {"username": "admin", "level": "admin"})
        self._know("admin", root)
        for who in ("lead", "researcher", "viewer", "other"):
            level = "researcher" if who == "other" else who
            self._know(who, self.must("POST", "/api/users", root["token"], {"username": who, "level": level}))
        for who in self.people:
            for scope in SCOPES:
                made = self.must("POST", "/api/tokens", self.tokens[who], {"name": scope, "scopes": [scope]})
                self.tokens[who, scope] = made["token"]

    def _know(self, who: str, made: dict[str, Any]) -> None:
        self.people[who] = made["id"]
        self.tokens[who] = made["token"]

    def waiting_job(self, who: str) -> str:
        """A job of that person which waits for ever."""
        body = {"config_name": CONFIG, "not_before": LATER}
        answer = self.must("POST", "/api/queue/submit", self.tokens[who], body)
        assert answer["status"] == "queued", answer
        return str(answer["job_id"])

    def ended_job(self, who: str) -> str:
        """A job of that person which was cancelled before it ran."""
        job_id = self.waiting_job(who)
        self.must("POST", f"/api/jobs/{job_id}/cancel", self.tokens[who])
        return job_id


@contextmanager
def society(
    folder: Path,
    rate_per_second: float = 1e6,
    rate_burst: int = 1_000_000,
    settled: bool = True,
    network: bool = False,
) -> Iterator[Society]:
    """A server with simulated GPUs, whose rates are as good as unlimited unless asked otherwise; with its people, or
    (not `settled`) with the owner alone; as one that others can reach if it is a `network` one."""
    configs = folder / "configs"
    configs.mkdir()
    (configs / f"{CONFIG}.toml").write_text('command = ["true"]\nnum_processes = 0\n')
    settings = ServerSettings(data_dir=folder / "data", configs_dir=configs, simulate_gpus="4:A100:40")
    data_folder.prepare(settings)
    supervisor = wiring.supervisor(settings, [])
    supervisor.boot()
    try:
        eventually(lambda: not supervisor.ready(), timeout=60)
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        api = frontend_wiring.api_settings(settings, posture.judge(settings, lambda: 0))
        api = msgspec.structs.replace(api, rate_per_second=rate_per_second, rate_burst=rate_burst, network=network)
        with cast() as web:
            web.start(
                Frontend, names.FRONTEND, listener, lambda: LinkClient(settings.data_dir / data_folder.SOCKETS), api
            )
            made = Society(port, supervisor, folder)
            eventually(lambda: made.ask("GET", "/api/users/me").status == (401 if network else 200), timeout=30)
            if settled:
                made.settle()
            yield made
    finally:
        supervisor.shut_down()
