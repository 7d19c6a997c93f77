"""`top`: one snapshot as text into a pipe, a live view on a terminal that ends with q or Ctrl-C."""

from __future__ import annotations

import termios

import pytest

from tests.support import eventually
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job
from tests.unit.cli.terminal import Terminal
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


@pytest.mark.parametrize("end", ["q", "\x03"], ids=["q", "Ctrl-C"])
def test_on_a_terminal_it_is_live_until_q_or_ctrl_c(server: Recorder, end: str) -> None:
    with Terminal(server.url, "top", "--every", "0.1") as terminal:
        terminal.wait_for("bbbbbbbbbbbb")
        asked = len(server.of("GET", "/api/queue"))
        eventually(lambda: terminal.read() and len(server.of("GET", "/api/queue")) > asked + 1, timeout=60)
        terminal.press(end)
        assert terminal.end() == 0, terminal.read()
        assert termios.tcgetattr(terminal.inside) == terminal.before, "the terminal is put back"
        assert "\x1b]0;x" not in terminal.read(), "a job's name does not retitle the window"


def test_a_server_that_goes_away_and_comes_back_does_not_end_it(server: Recorder) -> None:
    with Terminal(server.url, "top", "--every", "0.1") as terminal:
        terminal.wait_for("bbbbbbbbbbbb")
        server.on("GET", "/api/queue/stats", Answer(break_off=True))
        terminal.wait_for("trying again")
        server.on("GET", "/api/queue/stats", Answer({**STATS, "total_running": 77}))
        terminal.wait_for("77 running")
        terminal.press("q")
        assert terminal.end() == 0
