"""Watch a job to its end: what it waits for, then its log, attempt by attempt, then its last state."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from gpuyard.cli import ids, sse, terminal
from gpuyard.cli.exits import ExitCode, job_exit
from gpuyard.cli.http import Client, segment
from gpuyard.cli.jobs import TERMINAL, label, note
from gpuyard.cli.text import clean_line, span

Job = dict[str, Any]
Line = Callable[[str], None]

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


def print_line(line: str) -> None:
    """A log line on stdout: as it is into a pipe, harmless on a terminal."""
    click.echo(clean_line(line) if terminal.is_terminal() else line, color=True)


def notice(text: str) -> None:
    terminal.say(f"gpuyard: {text}")


def to_the_end(client: Client, job_id: str, *, line: Line | None = None, deadline: float | None = None) -> Job | None:
    """The job once it has ended; None when `deadline` (monotonic seconds) comes first.

    With `line` each line of its log is handed over, attempt after attempt. While the job waits, each new reason is
    told on stderr.
    """
    told = ""
    pause = SHORTEST_PAUSE
    while True:
        job = ids.find(client, job_id)
        if line is not None and (job.get("attempts") or job["status"] == "running"):
            for event in stream(client, job_id):
                line(event.data)
            line = None
            continue
        if job["status"] in TERMINAL:
            return job
        reasons = job.get("reasons") or []
        if reasons and job["status"] != "running" and reasons[0].get("code") != told:
            told = str(reasons[0].get("code"))
            notice(f"{job_id} waits: {note(job)}")
        left = LONGEST_PAUSE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(LONGEST_PAUSE, pause * 1.4)


def stream(client: Client, job_id: str, attempt: int | None = None, tail: int | None = None) -> Iterator[sse.Event]:
    """A job's log, an event a line, until the job (or that attempt) has ended; from the start or the last lines."""
    path = f"/api/jobs/{segment(job_id)}/logs/stream"
    query = {"attempt": attempt, "tail": tail}
    what = f"the log of {job_id} cannot be followed"
    for event in sse.follow(client, path, query=query, what=what, notice=notice):
        if event.kind == "done":
            return
        yield event


def tell_end(job: Job) -> None:
    """One line on stderr about how it ended."""
    what = f"{job['job_id']} ({label(job)}) {job['status']}"
    took = job.get("duration_seconds")
    after = f" after {span(took)}" if isinstance(took, (int, float)) else ""
    why = note(job) if job["status"] != "completed" else ""
    if not why and job.get("exit_code"):
        why = f"exit code {job['exit_code']}"
    notice(f"{what}{after}{': ' + why if why else ''}")


def leave(job_id: str) -> int:
    """Ctrl-C while watching: the watching ends, the job does not."""
    sys.stderr.write("\n" if terminal.is_terminal(sys.stderr) else "")
    notice(f"{job_id} goes on. See it: gpuyard jobs logs -f {job_id} · end it: gpuyard jobs cancel {job_id}")
    return ExitCode.INTERRUPTED


def watch(client: Client, job_id: str, *, logs: bool) -> int:
    """Watch a job that was just submitted, and answer the exit code for how it ended."""
    try:
        job = to_the_end(client, job_id, line=print_line if logs else None)
    except KeyboardInterrupt:
        return leave(job_id)
    assert job is not None
    tell_end(job)
    return job_exit(job["status"], job.get("exit_class"))
