"""A real Ray head node, started by a test and ended by pid (never `ray stop`, which ends processes by name).

All state lies in one folder, ports are free ones. `GPUYARD_TEST_RAY` may name a `ray` command of another environment.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.machine import end_all_of, free_port
from tests.support import eventually


def command() -> str | None:
    """The `ray` command, None where there is none."""
    beside = Path(sys.executable).parent / "ray"
    return os.environ.get("GPUYARD_TEST_RAY") or (str(beside) if beside.exists() else shutil.which("ray"))


class RayCluster:
    """`start` it, use `url`, `close` it. It has eight pretended GPUs and two CPUs. `ray` is the program."""

    def __init__(self, folder: Path, ray: str | None = None) -> None:
        self.folder = folder
        self._ray = ray
        self._ports = [free_port() for _ in range(3)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    def start(self, timeout: float = 180.0) -> RayCluster:
        ray = self._ray or command()
        assert ray is not None
        port, dashboard, client = self._ports
        with (self.folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                [
                    ray,
                    "start",
                    "--head",
                    "--block",
                    f"--port={port}",
                    "--node-ip-address=127.0.0.1",
                    "--dashboard-host=127.0.0.1",
                    f"--dashboard-port={dashboard}",
                    "--dashboard-agent-listen-port=0",
                    f"--ray-client-server-port={client}",
                    "--min-worker-port=0",
                    "--max-worker-port=0",
                    "--num-gpus=8",
                    "--num-cpus=2",
                    f"--temp-dir={self.folder}",
                    "--object-store-memory=100000000",
                    "--disable-usage-stats",
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "GPUYARD_TEST_CLUSTER": str(self.folder)},
            )
        eventually(self._takes_jobs, timeout=timeout, message="Ray takes no jobs")
        return self

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=20)
        end_all_of(self.folder)

    def _takes_jobs(self) -> bool:
        """The dashboard answers long before the agent that runs jobs is there."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"ray ended by itself:\n{(self.folder / 'out').read_text(errors='replace')[-3000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[1], timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/jobs/", json.dumps({"entrypoint": "true"}), headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
