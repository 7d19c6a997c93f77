"""Heartbeats and answers are lost, doubled and reordered between real sockets: every job runs, and none runs twice."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import TERMINAL, Server
from tests.e2e.worker import QUICK, WORKERS, Worker, free_port
from tests.support import eventually

CHAOTIC = Path(__file__).with_name("chaotic_worker.py")
JOBS = 24


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder, "--zmq-bind", f"127.0.0.1:{free_port()}", gpus=None, **QUICK)
    yield made.start()
    made.close()


@pytest.fixture
def workers(server: Server, tmp_path: Path) -> Iterator[list[Worker]]:
    made = []
    for seed, name in enumerate(("one", "two"), start=1):
        token = server.post(WORKERS, {"name": name}).body["token"]
        worker = Worker(server, tmp_path / name, name, token, "2")
        worker.words = [sys.executable, "-W", "error", str(CHAOTIC), str(seed)]
        made.append(worker.start())
    yield made
    for worker in made:
        worker.close()


@pytest.mark.timeout(170)
def test_every_job_runs_and_none_runs_twice(server: Server, workers: list[Worker], tmp_path: Path) -> None:
    rng = random.Random(7)
    marks = tmp_path / "marks"
    marks.mkdir()
    jobs: dict[str, Path] = {}
    for number in range(JOBS):
        mark = marks / str(number)
        script = f"echo $GPUYARD_FENCE >> {mark}; sleep {rng.uniform(0, 1.0):.2f}; echo done >> {mark}"
        jobs[server.submit("/bin/sh", "-c", script, target="worker")["job_id"]] = mark
    cancelled = rng.sample(sorted(jobs), 4)
    for job in cancelled:
        server.post(f"/api/jobs/{job}/cancel")
    # One of them dies in the middle of it, and comes back.
    eventually(lambda: sum(server.job(job)["is_terminal"] for job in jobs) > JOBS // 3, 120)
    workers[0].kill()
    workers[0].start()
    server.post("/api/queue/process")
    for job, mark in jobs.items():
        ended = server.wait(job, *TERMINAL, timeout=120)
        lines = mark.read_text().split() if mark.exists() else []
        fences = [attempt["fence"] for attempt in ended["attempts"]]
        assert len(fences) <= 1, ended
        assert [line for line in lines if line != "done"] == [str(fence) for fence in fences][: len(lines)]
        if job not in cancelled:
            assert ended["status"] == "completed" and lines.count("done") == 1, (ended, lines)
        elif ended["status"] == "cancelled" and "done" in lines:
            # The cancel was accepted first, and the stop came late: the true exit code is kept.
            assert ended["attempts"][-1]["exit_code"] == 0, (ended, lines)
    for worker in workers:
        eventually(lambda worker=worker: worker.view()["current_job_ids"] == [], 30)
        assert worker.stop() == 0
        carried, lost, doubled = map(
            int, re.findall(r"of (\d+) frames (\d+) were lost and (\d+) doubled", worker.stderr())[0]
        )
        assert lost > carried * 0.1 and doubled > carried * 0.03, "else this test shows nothing"
