"""The other side of the crash cycles: who takes the jobs, late, and tells afterwards what was asked of it."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import Any

from tests.clusters.fake_replicate import VERSIONS
from tests.clusters.slurm import SlurmCluster
from tests.machine import free_port
from tests.support import eventually

TOKEN = "r8_test"
ROOT = Path(__file__).resolve().parents[2]


class Side(ABC):
    """A provider in processes of its own. Jobs are known by the number that the trial gave them."""

    name: str
    settings: dict[str, Any]
    environ: dict[str, str] = {}

    @abstractmethod
    def behave(self, latency: tuple[float, float], late: bool, troubles: bool) -> None:
        """Take so long from now on. `late`: a submit has its effect at once and is answered late; else the effect is
        late too. `troubles`: some calls fail, some of them after their effect."""

    @abstractmethod
    def order(self, number: int, seconds: float) -> dict[str, Any]:
        """What a submit of job `number` says, besides its provider."""

    @abstractmethod
    def made(self) -> Counter[int]:
        """How many jobs were made here, by number."""

    @abstractmethod
    def alive(self) -> list[str]:
        """Jobs that have not ended, in words."""

    @abstractmethod
    def close(self) -> None:
        """End it."""


class ReplicateSide(Side):
    """A server that speaks Replicate's API. It keeps no token of ours, so everything hangs on what was written ahead
    and on finding jobs again."""

    name = "replicate"
    environ = {"REPLICATE_API_TOKEN": TOKEN}

    def __init__(self, folder: Path, settle_seconds: float) -> None:
        self._port = free_port()
        self.settings = {
            "base_url": f"http://127.0.0.1:{self._port}",
            "settle_seconds": settle_seconds,
            "poll_seconds": 0.5,
            "call_seconds": 5.0,
        }
        command = [sys.executable, "-m", "tests.clusters.fake_replicate", "--port", str(self._port), "--token", TOKEN]
        with (folder / "provider.log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, timeout=60, message="the provider did not start")

    def behave(self, latency: tuple[float, float], late: bool, troubles: bool) -> None:
        how = {"busy": 0.05, "broken": 0.05, "half": 0.1} if troubles else {}
        self._ask("POST", "/_script", {"latency": latency, "late": late, **how})

    def order(self, number: int, seconds: float) -> dict[str, Any]:
        given = {"seed": number, "seconds": seconds, "text": "hello"}
        return {"provider_options": {"model": "test/model", "version": VERSIONS["test/model"], "input": given}}

    def made(self) -> Counter[int]:
        return Counter(job["input"]["seed"] for job in self._jobs())

    def alive(self) -> list[str]:
        return [f"{job['id']} is {job['state']}" for job in self._jobs() if job["state"] in ("starting", "processing")]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def _jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/_jobs")["jobs"]
        return found

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return "jobs" in self._ask("GET", "/_jobs")
        except (OSError, http.client.HTTPException, ValueError):
            return False


# sbatch, but slow: the state folder says how. Whoever called it may be dead long before it ends.
SLOW_SBATCH = """#!{python} -S
import json, os, random, subprocess, sys, time
how = json.load(open({how!r}))
pause, dice = random.uniform(*how["latency"]), random.random()
if how["troubles"] and dice < 0.1:
    sys.exit("sbatch: error: Unable to contact slurm controller (connect failure)")
if not how["late"]:
    time.sleep(pause)
code = subprocess.call([{sbatch!r}, *sys.argv[1:]])
if how["late"]:
    time.sleep(pause)
if how["troubles"] and dice > 0.9:
    sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
sys.exit(code)
"""


class SlurmSide(Side):
    """A real Slurm of one node behind a slow sbatch. Each job writes its number down when it really runs."""

    name = "slurm"

    def __init__(self, folder: Path, cluster: SlurmCluster, settle_seconds: float) -> None:
        self._cluster, self._how, self._ran = cluster, folder / "how.json", folder / "ran"
        bin_dir = folder / "bin"
        bin_dir.mkdir()
        for command in ("squeue", "scancel", "scontrol", "sacct"):
            found = shutil.which(command)
            if found is not None:
                (bin_dir / command).symlink_to(found)
        sbatch = bin_dir / "sbatch"
        sbatch.write_text(SLOW_SBATCH.format(python=sys.executable, how=str(self._how), sbatch=shutil.which("sbatch")))
        sbatch.chmod(0o700)
        self.settings = {
            "bin_dir": str(bin_dir),
            "conf": str(cluster.conf),
            "settle_seconds": settle_seconds,
            "poll_seconds": 0.5,
        }

    def behave(self, latency: tuple[float, float], late: bool, troubles: bool) -> None:
        draft = self._how.with_suffix(".new")
        draft.write_text(json.dumps({"latency": latency, "late": late, "troubles": troubles}))
        draft.replace(self._how)

    def order(self, number: int, seconds: float) -> dict[str, Any]:
        command = ["sh", "-c", f"echo {number} >> '{self._ran}'; sleep {seconds}"]
        return {"command": command, "num_processes": 0}

    def made(self) -> Counter[int]:
        """What really ran; a job of Slurm that never ran is none of it."""
        return Counter(int(line) for line in self._ran.read_text().split()) if self._ran.exists() else Counter()

    def alive(self) -> list[str]:
        done = self._cluster.run("squeue", "--me", "--noheader", "--format=%i %T %k")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def close(self) -> None:
        """Nothing: the cluster is its maker's to end."""
