"""A real worker in its own process, for end-to-end tests: start it, stop it, kill it, start it again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.server import Server
from tests.machine import end_all_of
from tests.support import eventually

# The product's figures in parts of a second instead of minutes.
QUICK = {
    "GPUYARD_HEARTBEAT_SECONDS": "0.3",
    "GPUYARD_OFFLINE_AFTER_SECONDS": "2",
    "GPUYARD_LEASE_SECONDS": "60",
    "GPUYARD_LEASE_MARGIN_SECONDS": "2",
    "GPUYARD_STOP_GRACE_SECONDS": "1",
}
WORKERS = "/api/admin/workers"


def free_port() -> int:
    """A port that is free, and the one after it too; none that the kernel gives to whoever asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


class Worker:
    """`gpuyard worker` for `server`, with simulated GPUs and its data in `folder`."""

    def __init__(self, server: Server, folder: Path, name: str, token: str, gpus: str = "2") -> None:
        self.server, self.folder, self.name, self.token, self.gpus = server, folder, name, token, gpus
        self.data = folder / "data"
        self.words = [sys.executable, "-W", "error", "-m", "gpuyard", "worker"]
        self.environ = QUICK
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def launch(self, *flags: str) -> Worker:
        self.starts += 1
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
        environ |= {"GPUYARD_CONFIG_FILE": str(self.folder / "none.toml"), **self.environ}
        environ["GPUYARD_WORKER_TOKEN"] = self.token
        command = [*self.words, "--data-dir", str(self.data), "--simulate-gpus", self.gpus, *flags]
        with (self.folder / f"stderr-{self.starts}").open("wb") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL, env=environ)
        return self

    def start(self, *flags: str) -> Worker:
        """Start and wait until the server gives it work."""
        self.launch(*flags)
        self.wait_status("idle", "busy", "draining")
        return self

    def stderr(self) -> str:
        return (self.folder / f"stderr-{self.starts}").read_text()

    def view(self) -> dict[str, Any]:
        """What the server says of it."""
        answer = self.server.get(f"{WORKERS}/{self.name}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.body
        return found

    def wait_status(self, *statuses: str) -> dict[str, Any]:
        return eventually(
            lambda: view if (view := self.view())["status"] in statuses else {},
            timeout=60,
            message=f"{self.name} is not {statuses}:\n{self.stderr()}",
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9 of the agent; its runs live on."""
        assert self.process is not None
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """An orderly end; its exit code."""
        assert self.process is not None
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        """End it and everything that runs in its name, by pid."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        end_all_of(self.data)
