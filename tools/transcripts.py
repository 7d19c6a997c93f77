"""One job through each engine behind the queue, as a person types it: what is asked, what is answered.

    python tools/transcripts.py                 # replicate (a local server that speaks its API), slurm, ray
    python tools/transcripts.py slurm

Slurm (slurmctld and slurmd of this machine's packages) and Ray (where it is installed, or GPUYARD_TEST_RAY names its
program) are real ones, started for this and ended by pid. Exit code 1 when a job did not go well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.clusters.asgi import Served
from tests.clusters.fake_replicate import VERSIONS, FakeReplicate
from tests.clusters.ray import RayCluster, command as ray_command
from tests.clusters.slurm import SlurmCluster, missing
from tests.e2e.server import Server

PROGRAM = 'echo "GPUs $CUDA_VISIBLE_DEVICES"; for n in 1 2 3; do echo "step $n/3"; sleep 1; done'
INPUT = json.dumps({"text": "loss 0.13", "seconds": 3})


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, Any]]:
    absent = missing()
    if absent:
        raise SystemExit(f"no Slurm here ({', '.join(absent)}): apt-get install slurm-wlm munge")
    cluster = SlurmCluster(folder)
    try:
        conf = str(cluster.start().conf)
        yield {"conf": conf, "hardware": "a100", "prices": {"a100": 2.0}, "poll_seconds": 1}
    finally:
        cluster.close()


@contextmanager
def ray(folder: Path) -> Iterator[dict[str, Any]]:
    if ray_command() is None:
        raise SystemExit("no Ray here: pip install 'gpuyard[ray]', or GPUYARD_TEST_RAY names its program")
    cluster = RayCluster(folder)
    try:
        yield {"address": cluster.start().url, "jobs_dir": str(folder / "jobs"), "poll_seconds": 1}
    finally:
        cluster.close()


@contextmanager
def replicate(folder: Path) -> Iterator[dict[str, Any]]:
    served = Served(FakeReplicate().app)
    token = folder / "token"
    token.write_text("r8_test")
    token.chmod(0o600)
    asked = {"model": "test/trainer", "version": VERSIONS["test/trainer"], "destination": "test/result"}
    try:
        yield {"base_url": served.url, "token_file": str(token), "poll_seconds": 1, **asked}
    finally:
        served.close()


ENGINES: dict[str, Callable[[Path], Any]] = {"replicate": replicate, "slurm": slurm, "ray": ray}
JOBS = {
    "replicate": ["--provider-option", f"input={INPUT}", "--", "train"],
    "slurm": ["--gpus", "2", "--time-limit", "1h", "--", "sh", "-c", PROGRAM],
    "ray": ["--gpus", "2", "--", "sh", "-c", PROGRAM],
}


class Terminal:
    """Runs the command line against one server, and shows both."""

    def __init__(self, server: Server) -> None:
        self._environ = {**os.environ, "GPUYARD_SERVER": server.url, "NO_COLOR": "1", "COLUMNS": "120"}

    def type(self, *words: str) -> str:
        print("$ gpuyard", " ".join(_quoted(word) for word in words), flush=True)
        command = [sys.executable, "-m", "gpuyard", *words]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, timeout=300, check=False)
        print((done.stdout + done.stderr).rstrip(), flush=True)
        if done.returncode != 0:
            raise SystemExit(f"that ended with {done.returncode}")
        return done.stdout


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(' $"{}') else word


def transcript(name: str) -> None:
    """Try it, ask what a job would cost, run one, read its log and story."""
    with (
        tempfile.TemporaryDirectory(prefix="gy") as there,
        tempfile.TemporaryDirectory(prefix="gy") as here,
        ENGINES[name](Path(there)) as settings,
    ):
        server = Server(Path(here), gpus=None, GPUYARD_PROVIDERS=json.dumps({name: settings}))
        try:
            terminal = Terminal(server.start())
            terminal.type("cloud", "providers", "test", name)
            job = ["jobs", "submit", "--provider", name, "--name", "train"]
            terminal.type(*job, "--dry-run", *JOBS[name])
            job_id = terminal.type(*job, "--wait", *JOBS[name]).split()[0]
            terminal.type("jobs", "logs", job_id)
            terminal.type("jobs", "events", job_id)
            terminal.type("cloud", "cost")
        finally:
            server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(ENGINES)} (all)")
    asked = parser.parse_args().engines
    if unknown := set(asked) - set(ENGINES):
        parser.error(f"there is no engine {', '.join(unknown)}")
    for name in asked or ENGINES:
        print(f"--- {name}")
        transcript(name)
        print()


if __name__ == "__main__":
    main()
