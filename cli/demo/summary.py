"""What came of it: a row a training, with the loss that it really reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpuyard.cli.demo.story import EXPECTED, PARTS, waited
from gpuyard.cli.http import Client, segment
from gpuyard.cli.jobs import gpus_cell, status_cell
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, epoch, span

FIRST = re.compile(r"loss (\d+\.\d+) at step 0")
LAST = re.compile(r"step (\d+)(?:/\d+)?(?: \d+%)? loss (\d+\.\d+)")
DONE = re.compile(r"done: loss (\d+\.\d+) -> (\d+\.\d+) in (\d+) steps")

Job = dict[str, Any]


class Learned(NamedTuple):
    """The loss (nats a character) before and at the end, and the steps in between."""

    before: float
    after: float
    steps: int


def learned(log: str) -> Learned | None:
    """What a training's log says that it learned."""
    done = DONE.search(log)
    if done:
        return Learned(float(done[1]), float(done[2]), int(done[3]))
    first, later = FIRST.search(log), LAST.findall(log)
    return Learned(float(first[1]), float(later[-1][1]), int(later[-1][0])) if first and later else None


def read_logs(client: Client, jobs: Mapping[str, Job]) -> dict[str, Learned | None]:
    """By name, what each training learned."""
    found = {}
    for name, job in jobs.items():
        answer = client.get(f"/api/jobs/{segment(job['job_id'])}/logs", what=f"the log of {name} cannot be read")
        found[name] = learned(str(answer["logs"]))
    return found


def table(jobs: Mapping[str, Job], lessons: Mapping[str, Learned | None]) -> Table:
    """A row a training, in the order of the story."""
    columns = [
        Column("training", keep=True),
        Column("gpus", keep=True),
        Column("status", keep=True),
        Column("exit", right=True),
        Column("waited", right=True),
        Column("ran", right=True),
        Column("gap", right=True),
        Column("steps", right=True),
        Column("loss", keep=True),
        Column("note"),
    ]
    rows: list[list[Cell | str]] = []
    for part in PARTS:
        job = jobs[part.name]
        lesson = lessons.get(part.name)
        rows.append(
            [
                part.name,
                gpus_cell(job),
                status_cell(job),
                clean("-" if job.get("exit_code") is None else job["exit_code"]),
                waited(job),
                span(job.get("duration_seconds")),
                gap(job, jobs),
                str(lesson.steps) if lesson else "-",
                f"{lesson.before:.2f} → {lesson.after:.2f}" if lesson else "-",
                clean(job.get("error_message") or ""),
            ]
        )
    return Table(columns, rows)


def gap(job: Job, jobs: Mapping[str, Job]) -> str:
    """Milliseconds from the end of the last job that had one of its GPUs to its start."""
    mine, started = set(job.get("allocated_gpus") or ()), epoch(job.get("started_at"))
    if started is None:
        return "-"
    ends = [
        end
        for other in jobs.values()
        if other is not job and mine & set(other.get("allocated_gpus") or ())
        if (end := epoch(other.get("completed_at"))) is not None and end <= started
    ]
    return f"{1000 * (started - max(ends)):.0f}ms" if ends else "-"


def surprises(jobs: Mapping[str, Job], lessons: Mapping[str, Learned | None]) -> list[str]:
    """What did not go as the story has it: a status, or a loss that did not fall."""
    found = [
        f"{name} is {jobs[name]['status']}, not {status}"
        for name, status in EXPECTED.items()
        if jobs[name]["status"] != status
    ]
    for name, lesson in lessons.items():
        if EXPECTED[name] == "completed" and not (lesson and lesson.after < lesson.before):
            found.append(f"the loss of {name} did not fall")
    return found
