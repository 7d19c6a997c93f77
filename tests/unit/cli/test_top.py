"""`top`: one snapshot as text into a pipe, a live view on a terminal that ends with q or Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from tests.support import eventually
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job
from tests.unit.cli.test_verbs import STATS, SYSTEM


@pytest.fixture(autouse=True)
def _queue(server: Recorder) -> None:
    running = job("aaaaaaaaaaaa", name="hostile\x1b]0;x\x07[bold]", status="running", allocated_gpus=[0])
    waiting = job("bbbbbbbbbbbb", reasons=[{"code": "GpusBusy", "text": "It needs 2 GPUs."}], position=1)
    server.on("GET", "/api/system/status", Answer(SYSTEM))
    server.on("GET", "/api/queue/stats", Answer(STATS))
    server.on("GET", "/api/queue", Answer({"entries": [running, waiting], "total_pending": 1, "total_running": 1}))
    server.on("GET", "/api/jobs", Answer({"jobs": [job("cccccccccccc", status="completed")], "total": 1}))
    server.on("GET", "/api/jobs/aaaaaaaaaaaa/logs", Answer({"logs": "step 30/40 loss 0.5\n"}))


def test_into_a_pipe_it_is_one_snapshot(gpuyard: Gpuyard) -> None:
    result = gpuyard("top")
    assert result.exit_code == 0
    for word in (
        "aaaaaaaaaaaa",
        "step 30/40 loss 0.5",
        "bbbbbbbbbbbb",
        "#1 It needs 2 GPUs.",
        "cccccccccccc",
        "[bold]",
    ):
        assert word in result.stdout
    assert "\x1b" not in result.stdout
    assert "\x07" not in result.stdout


class Terminal:
    """A pseudo-terminal with a `gpuyard top` in it."""

    def __init__(self, server: Recorder) -> None:
        self.controller, inside = pty.openpty()
        environment = {**os.environ, "GPUYARD_SERVER": server.url, "TERM": "xterm-256color"}
        self.before = termios.tcgetattr(inside)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpuyard", "top", "--every", "0.1"],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**environment, "COLUMNS": "150", "LINES": "40"},
            start_new_session=True,
        )
        self.inside = inside
        self.seen = ""

    def read(self) -> str:
        """All that was written so far."""
        while select.select([self.controller], [], [], 0.02)[0]:
            self.seen += os.read(self.controller, 65_536).decode("utf-8", "replace")
        return self.seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.controller)
        os.close(self.inside)


@pytest.mark.parametrize("end", [lambda t: os.write(t.controller, b"q"), lambda t: t.process.send_signal(2)])
def test_on_a_terminal_it_is_live_until_q_or_ctrl_c(server: Recorder, end: Callable[[Terminal], object]) -> None:
    terminal = Terminal(server)
    try:
        eventually(lambda: "bbbbbbbbbbbb" in terminal.read(), timeout=60)
        asked = len(server.of("GET", "/api/queue"))
        eventually(lambda: terminal.read() and len(server.of("GET", "/api/queue")) > asked + 1, timeout=60)
        end(terminal)
        eventually(lambda: terminal.read() and terminal.process.poll() is not None, timeout=60)
        assert terminal.process.returncode == 0, terminal.read()
        assert termios.tcgetattr(terminal.inside) == terminal.before, "the terminal is put back"
        assert "\x1b]0;x" not in terminal.read(), "a job's name does not retitle the window"
    finally:
        terminal.close()


def test_a_server_that_goes_away_and_comes_back_does_not_end_it(server: Recorder) -> None:
    terminal = Terminal(server)
    try:
        eventually(lambda: "bbbbbbbbbbbb" in terminal.read(), timeout=60)
        server.on("GET", "/api/queue/stats", Answer(break_off=True))
        eventually(lambda: "trying again" in terminal.read(), timeout=60)
        server.on("GET", "/api/queue/stats", Answer({**STATS, "total_running": 77}))
        eventually(lambda: "77 running" in terminal.read(), timeout=60)
        os.write(terminal.controller, b"q")
        eventually(lambda: terminal.read() and terminal.process.poll() == 0, timeout=60)
    finally:
        terminal.close()
