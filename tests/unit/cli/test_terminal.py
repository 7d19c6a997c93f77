"""What a person sees on a terminal, and what a pipe gets instead."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.unit.cli.recorder import Answer, Recorder, job
from tests.unit.cli.terminal import Terminal

SGR = re.compile(r"\x1b\[[0-9;]*m")
CANCELLED = {"success": True, "cancelled": ["aaaaaaaaaaaa"], "failed": [], "still_pending": 0}


@pytest.fixture(autouse=True)
def _jobs(server: Recorder) -> None:
    rows = [
        job(f"{n:012d}", name="a-name-that-goes-on-for-quite-a-while", reasons=[{"text": "w" * 90}]) for n in range(3)
    ]
    server.on("GET", "/api/jobs", Answer({"jobs": rows, "total": 50}))
    server.on("POST", "/api/jobs/cancel", Answer(CANCELLED))


@pytest.mark.parametrize("columns", [200, 80, 40])
def test_a_table_fits_and_ids_are_whole(server: Recorder, columns: int) -> None:
    with Terminal(server.url, "jobs", "list", columns=columns) as terminal:
        assert terminal.end() == 0
        lines = [SGR.sub("", line) for line in terminal.read().splitlines()]
    assert [line[:12] for line in lines[1:4]] == ["000000000000", "000000000001", "000000000002"]
    if columns >= 80:
        assert max(map(len, lines)) <= columns
    assert lines[4] == "3 of 50 jobs; -l 50 shows all"


def test_colour_only_where_it_is_wanted(server: Recorder) -> None:
    with Terminal(server.url, "jobs", "list") as terminal:
        terminal.end()
        assert SGR.search(terminal.read())
    for unwanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(server.url, "jobs", "list", **unwanted) as terminal:
            terminal.end()
            assert "\x1b" not in terminal.read(), unwanted
            assert "000000000000" in terminal.read()


@pytest.mark.parametrize(("keys", "code", "asked"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("\x03", 130, 0)])
def test_what_can_not_be_undone_is_asked_first(server: Recorder, keys: str, code: int, asked: int) -> None:
    with Terminal(server.url, "jobs", "cancel", "--all") as terminal:
        terminal.wait_for("[y/N]")
        terminal.press(keys)
        assert terminal.end() == code, terminal.read()
    assert len(server.of("POST", "/api/jobs/cancel")) == asked


def test_a_log_on_a_terminal_is_harmless(server: Recorder) -> None:
    hostile = "\x1b]0;owned\x07title\n\x1b[31mred\x1b[0m\n 10%\r 20%\r 30%\n"
    server.on("GET", "/api/jobs/aaaaaaaaaaaa/logs", Answer({"logs": hostile}))
    with Terminal(server.url, "jobs", "logs", "aaaaaaaaaaaa") as terminal:
        assert terminal.end() == 0
        assert terminal.read().splitlines() == ["\u241b]0;owned\u2407title", "red", " 30%"]


def gpuyard(server: Recorder, words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m gpuyard {words}"
    environment = {**os.environ, "GPUYARD_SERVER": server.url, **environ}
    return subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=60)


def test_a_reader_that_leaves_early_is_no_error(server: Recorder) -> None:
    rows = [job(f"{n:012d}", name="x" * 100) for n in range(500)]
    server.on("GET", "/api/jobs", Answer({"jobs": rows, "total": 500}))
    done = gpuyard(server, "jobs list -l 500 --format json | head -n 1")
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_a_terminal_that_knows_only_latin_gets_ascii_signs_and_no_crash(server: Recorder) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [job(name="na\u00efve \u65e5")], "total": 1}))
    done = gpuyard(server, "jobs list | iconv -f latin1 -t utf8", PYTHONIOENCODING="latin1")
    assert (done.returncode, done.stderr) == (0, "")
    assert ". pending" in done.stdout and "na\u00efve \\u65e5" in done.stdout
