"""Watch a job to its end: what it waits for, then its log, attempt by attempt, then its last state."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from gpuyard.cli import ids, sse, terminal
from gpuyard.cli.exits import ExitCode, job_exit
from gpuyard.cli.http import ApiError, Client, segment
from gpuyard.cli.jobs import TERMINAL, label, note
from gpuyard.cli.text import clean_line, span

Job = dict[str, Any]
Line = Callable[[str], None]

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


def print_line(line: str) -> None:
    """A log line on stdout: as it is into a pipe, harmless on a terminal."""
    click.echo(clean_line(line) if terminal.is_terminal() else line)


def notice(text: str) -> None:
    terminal.say(f"gpuyard: {text}")


def to_the_end(
    client: Client, job_id: str, *, line: Line | None = None, deadline: float | None = None, tell_waits: bool = True
) -> Job | None:
    """The job once it has ended; None when `deadline` (monotonic seconds) comes first.

    With `line` each log line of each attempt is handed to it. While the job waits, a new reason is told on stderr.
    """
    followed = 0
    told = ""
    pause = SHORTEST_PAUSE
    while True:
        job = ids.find(client, job_id)
        if line is not None:
            for number in _attempts(job):
                if number > followed:
                    follow_attempt(client, job_id, number, line)
                    followed, pause = number, SHORTEST_PAUSE
        if job["status"] in TERMINAL:
            return job
        if tell_waits and job["status"] in ("pending", "blocked"):
            reasons = job.get("reasons") or []
            code = str(reasons[0].get("code")) if reasons else ""
            if code and code != told:
                told = code
                notice(f"{job_id} waits: {note(job)}")
        if deadline is not None and time.monotonic() >= deadline:
            return None
        if deadline is not None:
            pause = min(pause, max(0.0, deadline - time.monotonic()))
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.4)


def _attempts(job: Job) -> list[int]:
    """The numbers of the attempts that have, or had, a log."""
    found = {int(attempt["number"]) for attempt in job.get("attempts") or [] if attempt.get("number")}
    if job["status"] == "running":
        found.add(int(job.get("attempt") or 1))
    return sorted(found)


def follow_attempt(client: Client, job_id: str, number: int, line: Line) -> None:
    """Hand over the log lines of one attempt until it has ended; a log that is gone has none."""
    what = f"the log of {job_id} cannot be followed"
    try:
        for event in stream(client, job_id, {"attempt": number}, what):
            if event.kind == "done":
                return
            line(event.data)
    except ApiError as error:
        if error.exit_code != ExitCode.NOT_FOUND:
            raise


def stream(client: Client, job_id: str, query: dict[str, Any], what: str = "") -> Any:
    """The events of a job's log: a line each (`message`), then `done` with its status."""
    path = f"/api/jobs/{segment(job_id)}/logs/stream"
    return sse.follow(client, path, query=query, what=what, notice=notice)


def tell_end(job: Job) -> None:
    """One line on stderr about how it ended."""
    what = f"{job['job_id']} ({label(job)}) {job['status']}"
    took = job.get("duration_seconds")
    after = f" after {span(took)}" if isinstance(took, (int, float)) else ""
    why = note(job) if job["status"] != "completed" else ""
    code = f" with exit code {job['exit_code']}" if job.get("exit_code") else ""
    notice(f"{what}{after}{code}{': ' + why if why else ''}")


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
