"""A real server and real workers, each on a host of its own, and jobs that mark when they live."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpuyard.actors.keeper.program import lease
from tests.e2e.server import TERMINAL, Server
from tests.e2e.worker import WORKERS, Worker
from tests.keeper.host import comm
from tests.machine import processes_of
from tests.net.hosts import Cable, Host, children
from tests.net.marks import Span, check_none_overlap, spans
from tests.support import eventually

PROGRAM = Path(__file__).with_name("program.py")
PORT = 7441

# Seconds; tools/partitions.py plays with longer ones.
LEASE = float(os.environ.get("GPUYARD_TEST_LEASE", "6"))
TIMEOUT = 120 + 10 * LEASE
# The product's own figures in seconds instead of minutes.
HEARTBEAT, OFFLINE, MARGIN = 0.25, 1.5, 3.0
SCALED = {
    "GPUYARD_HEARTBEAT_SECONDS": str(HEARTBEAT),
    "GPUYARD_OFFLINE_AFTER_SECONDS": str(OFFLINE),
    "GPUYARD_LEASE_MARGIN_SECONDS": str(MARGIN),
    "GPUYARD_STOP_GRACE_SECONDS": "1",
}


class NetServer(Server):
    """A server on a host of its own; asked from within its network."""

    def __init__(self, folder: Path, host: Host) -> None:
        super().__init__(folder, "--zmq-bind", f"tcp://0.0.0.0:{PORT}", gpus=None, **SCALED)
        self.host = host
        self.prefix = host.enter()

    def connect(self) -> http.client.HTTPConnection:
        connection = super().connect()
        with self.host.inside():
            connection.connect()
        return connection

    def workers(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {worker["name"]: worker for worker in self.get(WORKERS).body["workers"]}

    def enrol(self, name: str, **more: Any) -> dict[str, Any]:
        answer = self.post(WORKERS, {"name": name, **more})
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body


class Machine(Worker):
    """A worker on a host of its own, with a cable to the server."""

    server: NetServer

    def __init__(self, server: NetServer, folder: Path, name: str, gpus: int = 1, **labels: str) -> None:
        enrolled = server.enrol(name, labels=labels)
        super().__init__(server, folder, name, enrolled["token"], str(gpus))
        self.id: str = enrolled["worker_id"]
        self.environ = SCALED
        self.boots = 0
        self.power_on()

    # --- the machine ---

    def power_on(self) -> None:
        self.boots += 1
        self.host = Host(f"00000000-0000-0000-{os.getpid() % 10_000:04d}-{self.boots:012d}", self.folder)
        self.cable = Cable(self.server.host, self.host)
        self.words = [*self.host.enter(whole=True), sys.executable, "-W", "error", "-m", "gpuyard", "worker"]

    def power_off(self) -> None:
        self._wake_nsenter()
        self.host.power_off()
        if self.process is not None:
            self.process.wait(30)

    def retire(self) -> None:
        """Off, and unknown to the server."""
        self.power_off()
        answer = self.server.request("DELETE", f"{WORKERS}/{self.id}?force=true")
        assert answer.status == 200, answer.body

    # --- the worker's process ---

    def launch(self, *flags: str) -> Machine:
        super().launch("--name", self.name, "--orchestrator-url", f"tcp://{self.cable.addresses[0]}:{PORT}", *flags)
        return self

    @property
    def pid(self) -> int:
        """Of the worker itself, not of what brought it to its host."""
        assert self.process is not None
        return children(self.process.pid)[0]

    def freeze(self, *pids: int) -> None:
        for pid in pids or (self.pid,):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, *pids: int) -> None:
        for pid in pids or (self.pid,):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._wake_nsenter()

    def _wake_nsenter(self) -> None:
        """It stops together with its child, but does not wake with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)

    def keepers(self) -> list[int]:
        """Its keepers at work (pids as seen from here)."""
        return [pid for pid in processes_of(self.data) if comm(pid) == "gpuyard-keeper"]


class Job:
    """A job that marks when it lives, until it is told to finish; `seconds` is its lease."""

    def __init__(self, server: NetServer, folder: Path, seconds: float, label: str, **more: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.server, self.seconds = server, seconds
        stem = folder / f"job-{label}"
        self.marks, self._finish = stem.with_suffix(".marks"), stem.with_suffix(".finish")
        command = [sys.executable, "-I", "-S", str(PROGRAM), str(self.marks), str(self._finish)]
        fields = {
            "target": "worker",
            "worker_labels": {label: "*"},
            "lease_seconds": seconds,
            "max_attempts": 10,
            **more,
        }
        self.id: str = server.submit(*command, **fields)["job_id"]

    def runs(self) -> list[Span]:
        return spans(self.marks)

    def lease_until(self, worker: Machine) -> float:
        """Where the lease of its present run ends as things stand, by the file that the keeper reads."""
        fence = self.runs()[-1].fence
        fd = os.open(worker.data / "runs" / str(fence), os.O_RDONLY)
        try:
            return lease.read(fd) or 0.0
        finally:
            os.close(fd)

    def wait_renewed(self, worker: Machine) -> float:
        """Until its lease was renewed this very moment; where it ends now."""
        before = self.lease_until(worker)
        return eventually(lambda: until if (until := self.lease_until(worker)) > before else 0.0, 30)

    def wait_lives(self, runs: int = 1) -> Job:
        """Until so many runs of it have marked that they live."""
        eventually(lambda: len(self.runs()) >= runs, 60 + 2 * self.seconds, f"{self.id}: {self.view()}")
        return self

    def view(self) -> dict[str, Any]:
        return self.server.job(self.id)

    def finish(self) -> list[Span]:
        """Let it end by itself; its runs, of which no two lived together."""
        self._finish.touch()
        done = self.server.wait(self.id, *TERMINAL, timeout=60 + 2 * self.seconds)
        assert done["status"] == "completed", done
        return check_none_overlap(self.marks)
