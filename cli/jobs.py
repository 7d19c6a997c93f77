"""A job as people see it: its status with a sign, its GPUs, how long it waits or runs, and the first thing to know."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpuyard.cli import terminal
from gpuyard.cli.tables import Cell, Column, Table, plain
from gpuyard.cli.text import clean, epoch, local_time, span

Job = dict[str, Any]

FIELDS = (
    "job_id",
    "name",
    "config_name",
    "status",
    "phase",
    "position",
    "num_processes",
    "allocated_gpus",
    "effective_priority",
    "user_id",
    "queued_at",
    "started_at",
    "completed_at",
    "duration_seconds",
    "exit_code",
    "exit_class",
    "error_message",
)
"""What a CSV of jobs holds when `-o` names nothing."""

TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Look(NamedTuple):
    """A status's sign, the sign where there is only ASCII, and its colour."""

    sign: str
    ascii: str
    colour: str | None


LOOKS = {
    "blocked": Look("◇", "#", "magenta"),
    "pending": Look("○", ".", "yellow"),
    "running": Look("●", ">", "blue"),
    "completed": Look("✓", "+", "green"),
    "failed": Look("✗", "x", "red"),
    "cancelled": Look("⊘", "-", "bright_black"),
}


def status_cell(job: Job) -> Cell:
    """`● running`; a phase that is not simply running takes the word's place, a held job is `held`."""
    status = str(job.get("status"))
    word = status
    if status == "running" and job.get("phase") not in (None, "running"):
        word = str(job["phase"])
    elif status == "pending" and job.get("held"):
        word = "held"
    look = LOOKS.get(status, Look("?", "?", None))
    return Cell(f"{look.sign if terminal.has_signs() else look.ascii} {clean(word)}", look.colour)


def label(job: Job) -> str:
    """What a person calls the job: its name, its config, its run's name, or the program of its command."""
    metadata = job.get("metadata") or {}
    command = job.get("command") or []
    found = job.get("name") or job.get("config_name") or metadata.get("run_name") or program(command)
    return clean(found or "-")


def program(command: Sequence[str]) -> str:
    """The command in short: `python train.py` for `/usr/bin/python3 -u train.py --lr 1e-4`."""
    if not command:
        return ""
    words = [command[0].rpartition("/")[2]]
    script = next((word for word in command[1:] if not word.startswith("-")), "")
    return " ".join([*words, script.rpartition("/")[2]]).strip()


def gpus_cell(job: Job) -> Cell:
    """The GPUs it has (`0,1`, on a worker `gpu-box:0,1`), how many it wants (`×2`), or `cpu`."""
    held = job.get("allocated_gpus")
    if held:
        where = f"{clean(job.get('worker_name') or job['worker_id'])}:" if job.get("worker_id") else ""
        return Cell(where + ",".join(str(index) for index in held))
    wanted = job.get("num_processes", 1)
    if wanted == 0:
        return Cell("cpu", dim=True)
    return Cell(f"{'×' if terminal.has_signs() else 'x'}{wanted}", dim=True)


def seconds(job: Job, now: float) -> float | None:
    """How long it waits, runs, or ran."""
    started, ended, queued = (epoch(job.get(name)) for name in ("started_at", "completed_at", "queued_at"))
    status = job.get("status")
    if status in ("pending", "blocked"):
        return None if queued is None else now - queued
    if status == "running":
        return None if started is None else now - started
    return None if started is None or ended is None else ended - started


def time_cell(job: Job, now: float) -> Cell:
    """`waits 5m00s`, `runs 1h02m`, `took 42s`."""
    verb = {"pending": "waits", "blocked": "waits", "running": "runs"}.get(str(job.get("status")), "took")
    took = seconds(job, now)
    return Cell("-", dim=True) if took is None else Cell(f"{verb} {span(took)}", dim=verb == "took")


def note(job: Job) -> str:
    """The first thing to know: a pending job's place and reason, how far a provider is with it, why it failed."""
    status = job.get("status")
    if status in ("pending", "blocked"):
        place = job.get("position") or job.get("queue_position")
        reasons = job.get("reasons") or []
        why = str(reasons[0].get("text", "")) if reasons else ""
        return clean(f"#{place} {why}" if place else why)
    return clean(job.get("progress") or job.get("error_message") or "")


def job_table(jobs: Sequence[Job]) -> Table:
    """The table of `jobs list`."""
    now = time.time()
    columns = [
        Column("job", keep=True),
        Column("name"),
        Column("status", keep=True),
        Column("gpus"),
        Column("prio", right=True),
        Column("queued", keep=True),
        Column("time", keep=True),
        Column("note"),
    ]
    rows = [
        [
            plain(job.get("job_id")),
            Cell(label(job)),
            status_cell(job),
            gpus_cell(job),
            plain(job.get("effective_priority")),
            Cell(local_time(job.get("queued_at"), now), dim=True),
            time_cell(job, now),
            Cell(note(job)),
        ]
        for job in jobs
    ]
    return Table(columns, rows)


def reason_lines(reasons: Sequence[dict[str, Any]]) -> list[str]:
    """Each reason as a sentence, and below it what would help."""
    lines = []
    for reason in reasons:
        lines.append(f"{reason.get('code')}: {reason.get('text')}")
        if reason.get("blocking_jobs"):
            lines.append(f"  held by: {', '.join(reason['blocking_jobs'])}")
        if reason.get("unblock"):
            lines.append(f"  to start it: {reason['unblock']}")
        if reason.get("never"):
            lines.append("  waiting alone does not help")
    return [_clean_indented(line) for line in lines]


def _clean_indented(line: str) -> str:
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + clean(text)
