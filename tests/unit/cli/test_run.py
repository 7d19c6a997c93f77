"""`run`: the command's own exit code, and what Ctrl-C does. Real processes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Asked, Recorder, job

RUNNING = job(status="running", attempts=[{"number": 1}], position=None, config_name=None, command=["true"])
JOB = "/api/jobs/aaaaaaaaaaaa"


def stream(text: str) -> Answer:
    return Answer(raw=text.encode(), headers={"Content-Type": "text/event-stream"})


@pytest.fixture(autouse=True)
def _accepts(server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer({"success": True, "job_id": "aaaaaaaaaaaa", "status": "running"}))
    server.on("GET", JOB + "/logs/stream", stream("id: 6\ndata: hello\n\nevent: done\ndata: x\n\n"))


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"status": "completed", "exit_code": 0}, 0),
        ({"status": "failed", "exit_code": 42, "exit_class": "exit:42"}, 42),
        ({"status": "failed", "exit_code": 137, "exit_class": "signal:KILL"}, 137),
        ({"status": "failed", "exit_code": None, "exit_class": "start_failed"}, 100),
        ({"status": "cancelled", "exit_code": 143, "exit_class": "cancelled"}, 103),
    ],
)
def test_it_ends_with_the_commands_own_code(gpuyard: Gpuyard, server: Recorder, end: dict[str, Any], code: int) -> None:
    server.on("GET", JOB, Answer({"job": RUNNING}), Answer({"job": {**RUNNING, **end}}))
    result = gpuyard("run", "--gpus", "0", "--", "sh", "-c", "exit 3")
    assert result.exit_code == code
    assert result.stdout == "hello\n"


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_all_after_the_first_word_belongs_to_the_command(gpuyard: Gpuyard, server: Recorder, dashes: list[str]) -> None:
    server.on("GET", JOB, Answer({"job": job(status="completed", exit_code=0)}))
    gpuyard("run", "--gpus", "2", *dashes, "train", "--gpus", "3", "--help")
    assert server.asked[0].body == {
        "command": ["train", "--gpus", "3", "--help"],
        "num_processes": 2,
        "workdir": str(Path.cwd()),
    }


class Live:
    """A job that runs until it is cancelled (and, if `stubborn`, even then)."""

    def __init__(self, server: Recorder, *, stubborn: bool = False) -> None:
        self.cancelled = threading.Event()
        self.over = threading.Event()
        self._stubborn = stubborn
        server.on("GET", JOB, self._job)
        server.on("POST", JOB + "/cancel", self._cancel)
        server.on("GET", JOB + "/logs/stream", self._log)

    def _job(self, asked: Asked) -> Answer:
        end = {"status": "cancelled", "exit_code": 143, "exit_class": "cancelled"} if self.over.is_set() else {}
        return Answer({"job": {**RUNNING, **end}})

    def _cancel(self, asked: Asked) -> Answer:
        self.cancelled.set()
        if not self._stubborn:
            self.over.set()
        return Answer({"success": True, "job_id": "aaaaaaaaaaaa", "status": "running", "phase": "stopping"})

    def _log(self, asked: Asked) -> Answer:
        self.over.wait(30)
        return stream("id: 6\ndata: hello\n\nevent: done\ndata: cancelled\n\n")


@pytest.fixture
def run_process(server: Recorder) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuyard", "run", "sleep", "1000"],
        env={**os.environ, "GPUYARD_SERVER": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_cancels_and_waits_for_the_end(
    server: Recorder, run_process: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    live = Live(server)
    eventually(lambda: server.of("GET", JOB + "/logs/stream"), timeout=60)
    run_process.send_signal(number)
    out, told = run_process.communicate(timeout=60)
    assert live.cancelled.is_set()
    assert run_process.returncode == code
    assert out == "hello\n", "its last lines are still shown"
    assert "cancelling aaaaaaaaaaaa" in told


def test_the_second_ctrl_c_does_not_wait(server: Recorder, run_process: subprocess.Popen[str]) -> None:
    live = Live(server, stubborn=True)
    eventually(lambda: server.of("GET", JOB + "/logs/stream"), timeout=60)
    run_process.send_signal(signal.SIGINT)
    assert live.cancelled.wait(60)
    run_process.send_signal(signal.SIGINT)
    _, told = run_process.communicate(timeout=60)
    assert run_process.returncode == 130
    assert "not waiting for its end" in told
    live.over.set()


def test_ctrl_c_while_following_leaves_the_job_alone(server: Recorder) -> None:
    live = Live(server)
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuyard", "jobs", "logs", "-f", "aaaaaaaaaaaa"],
        env={**os.environ, "GPUYARD_SERVER": server.url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: server.of("GET", JOB + "/logs/stream"), timeout=60)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        live.over.set()
    assert process.returncode == 130
    assert "gpuyard jobs cancel aaaaaaaaaaaa" in told
    assert not live.cancelled.is_set()
