"""The stage of the demonstration: a real server in a folder of its own, and the certainty that nothing of it stays.

This process makes itself the one that orphans of its descendants are given to (a child subreaper), so that at the end
it can name every process that the server and its runs have started, and end what is left, by pid.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from gpuyard.cli.exits import Failure
from gpuyard.cli.http import Client

PR_SET_CHILD_SUBREAPER = 36
START_SECONDS = 40.0
STOP_SECONDS = 10.0
PAUSE = 0.02
GPUS = 4


class Stage(NamedTuple):
    """The server's address, its folder, and its process."""

    client: Client
    folder: Path
    server: subprocess.Popen[bytes]


@contextmanager
def stage() -> Iterator[Stage]:
    """A server with four simulated GPUs; afterwards its jobs, its processes and its folder are gone.

    Raises Failure when the server does not start.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(_descendants())
    folder = Path(tempfile.mkdtemp(prefix="gpuyard-demo-"))
    try:
        server = _start(folder)
        try:
            with Client(_address(folder, server)) as client:
                try:
                    yield Stage(client, folder, server)
                finally:
                    _end_jobs(client)
        finally:
            _stop(server)
    finally:
        _end_all(before)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """The server as anybody would start it, but with nothing of the user's own settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environment |= {"GPUYARD_CONFIG_FILE": str(folder / "none.toml"), "GPUYARD_STOP_GRACE_SECONDS": "5"}
    words = ["server", "--port", "0", "--data-dir", str(folder / "data"), "--simulate-gpus", f"{GPUS}:H100:80"]
    with (folder / "server.out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "gpuyard", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for us; we end the server in good order
        )


def _address(folder: Path, server: subprocess.Popen[bytes]) -> str:
    """Where the server listens, once it is ready. Raises Failure with what it said instead."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            url = str(json.loads((folder / "data" / "server.json").read_text())["url"])
            with Client(url, timeout=5.0) as client:
                client.request("GET", "/readyz")
            return url
        except (OSError, ValueError, Failure):
            time.sleep(PAUSE)
    said = (folder / "server.out").read_text(errors="replace").strip().splitlines()[-3:]
    raise Failure("the demo's server did not start", " / ".join(said), "gpuyard doctor")


def _end_jobs(client: Client) -> None:
    """Cancel what still runs, so that each run ends in good order with its keeper."""
    try:
        client.post("/api/jobs/cancel", {"all": True, "all_users": True})
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and client.get("/api/queue", query={"limit": 1})["entries"]:
            time.sleep(PAUSE)
    except Failure:
        pass  # what this leaves is ended by pid


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _end_all(before: set[psutil.Process]) -> None:
    """End and reap what is left of the server's processes; a moment is given to those that are ending by themselves."""
    left = [process for process in _descendants() if process not in before]
    _, alive = psutil.wait_procs(left, timeout=2.0)
    while alive:
        for process in alive:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(alive, timeout=2.0)
        # A process that was killed may have left children to us.
        alive = [process for process in _descendants() if process not in before]
