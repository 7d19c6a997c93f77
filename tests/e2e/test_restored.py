"""One machine whose database came back from an older copy: what it forgot lives on, and nothing starts beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def database(server: Server, *words: str) -> None:
    command = [sys.executable, "-m", "gpuyard", "db", *words, "--data-dir", str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_that_the_copy_does_not_know_keeps_its_job_waiting_until_it_is_stopped(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server, copy = make_server(gpus="1").start(), str(tmp_path / "copy.db")
    first = server.submit("sleep", "600")["job_id"]
    second = server.submit("sleep", "600")["job_id"]
    server.wait_phase(first)
    database(server, "backup", copy)
    server.post(f"/api/jobs/{first}/cancel")
    server.wait(first)
    server.post("/api/queue/process")
    fence = server.wait_phase(second)["attempts"][-1]["fence"]
    server.stop()
    database(server, "restore", copy, "--yes")
    server.start()
    server.wait(first, "failed", "cancelled", "completed")
    found = server.job(second)
    (reason, *_) = found["reasons"]
    assert (found["status"], reason["code"]) == ("pending", "Orphan"), found
    assert reason["unblock"] == f"gpuyard workers stop-orphan local {fence}"
    new = server.submit("true", num_processes=0)["job_id"]
    assert server.wait(new)["status"] == "completed", "others go on"
    assert server.job(second)["status"] == "pending"
    assert server.post(f"/api/admin/workers/local/orphans/{fence}/stop").status == 200
    (attempt,) = server.wait_phase(second)["attempts"]
    assert attempt["fence"] > fence
