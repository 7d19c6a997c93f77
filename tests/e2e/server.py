"""A real server in its own process, for end-to-end tests: start it, kill it, start it again, ask it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.machine import end_all_of, processes_of
from tests.support import eventually

TERMINAL = {"completed", "failed", "cancelled"}


class Answer:
    """Status, headers and decoded body of one HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.raw = response.read()
        self.body: Any = json.loads(self.raw) if self.raw[:1] in (b"{", b"[") else self.raw.decode("utf-8", "replace")


class Server:
    """`gpuyard server` on a free port with its data in `folder`. Settings go by `environ` (GPUYARD_…)."""

    def __init__(self, folder: Path, *flags: str, gpus: str | None = "4", **environ: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.configs = folder / "configs"
        self.configs.mkdir(parents=True, exist_ok=True)
        self.flags = [*flags, *([] if gpus is None else ["--simulate-gpus", gpus])]
        self.prefix: list[str] = []  # A program that starts the server in its own place, such as prlimit.
        self.environ = {"GPUYARD_STOP_GRACE_SECONDS": "2", **environ}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.cacert: Path | None = None  # Whom to believe about the certificate of an https server.
        self.token = ""  # Sent with every request that has no Authorization of its own.
        self.starts = 0

    # --- life ---

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        self.starts += 1
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
        environ |= {"GPUYARD_CONFIG_FILE": str(self.folder / "none.toml"), **self.environ}
        command = [*self.prefix, sys.executable, "-W", "error", "-m", "gpuyard", "server", "--port", "0"]
        command += ["--data-dir", str(self.data), "--configs-dir", str(self.configs), *self.flags]
        if (self.data / "server.json").exists():  # On a read-only disk even a try to unlink nothing is refused.
            (self.data / "server.json").unlink()
        with (self.folder / f"stderr-{self.starts}").open("wb") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL, env=environ)
        return self.process

    def start(self) -> Server:
        """Start and wait until it is ready."""
        process = self.launch()

        def ready() -> bool:
            assert process.poll() is None or self._died()
            try:
                self.url = json.loads((self.data / "server.json").read_text())["url"]
                return self.get("/readyz").status == 200
            except (OSError, ValueError, http.client.HTTPException):
                return False

        try:
            eventually(ready, timeout=60)
        except AssertionError:
            raise AssertionError(f"the server did not become ready, and said:\n{self.stderr()}") from None
        return self

    def _died(self) -> bool:
        raise RuntimeError(f"the server ended with {self.process and self.process.returncode}:\n{self.stderr()}")

    def stderr(self) -> str:
        return (self.folder / f"stderr-{self.starts}").read_text()

    def kill(self) -> None:
        """kill -9 of the supervisor."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """An orderly end; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """End the server and everything that runs in its name, by pid."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)
        end_all_of(self.data)

    def processes(self) -> list[int]:
        return processes_of(self.data)

    # --- HTTP ---

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=str(self.cacert))
            return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=30, context=trusted)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = self.connect()
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Type": "application/json"} if data is not None else {}
            if self.token:
                sent["Authorization"] = f"Bearer {self.token}"
            connection.request(method, path, data, {**sent, **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    # --- jobs ---

    def submit(self, *command: str, **more: Any) -> dict[str, Any]:
        """Submit a command (default: `true`); the answer must be a success."""
        answer = self.post("/api/queue/submit", {"command": list(command or ("true",)), **more})
        assert answer.status == 200, (answer.status, answer.body)
        assert answer.body["success"], answer.body
        body: dict[str, Any] = answer.body
        return body

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/api/jobs/{job_id}")
        assert answer.status == 200, (answer.status, answer.body)
        body: dict[str, Any] = answer.body["job"]
        return body

    def wait(self, job_id: str, *statuses: str, timeout: float = 30) -> dict[str, Any]:
        """The job once it has one of `statuses` (default: any terminal one)."""
        wanted = set(statuses) or TERMINAL

        def check() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in wanted else None

        found = eventually(check, timeout=timeout, message=f"job {job_id} did not become {wanted}: {self.job(job_id)}")
        assert found is not None
        return found

    def wait_phase(self, job_id: str, phase: str = "running", timeout: float = 30) -> dict[str, Any]:
        """The job once its live attempt is in `phase`."""

        def check() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["status"] not in TERMINAL, job
            return job if job["phase"] == phase else None

        found = eventually(check, timeout=timeout)
        assert found is not None
        return found

    def stats(self) -> dict[str, Any]:
        body: dict[str, Any] = self.get("/api/queue/stats").body
        return body

    def limits(self, **changes: Any) -> dict[str, Any]:
        answer = self.post("/api/queue/concurrency", changes)
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body
