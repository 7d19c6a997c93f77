"""`gpuyard jobs get`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

import click

from gpuyard.cli import ids, tables
from gpuyard.cli.http import Client
from gpuyard.cli.jobs import gpus_cell, label, note, status_cell, time_cell
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one, flat
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, local_time, span


@click.command()
@ids.job_argument
@output_options
@client_options
def get(client: Client, out: Output, job: str) -> None:
    """Show everything about one job; JOB is its id or a unique prefix of it.

    \b
      gpuyard jobs get k3j5 -o status
    """
    emit_one(out, ids.find(client, job), view=show)


def show(job: dict[str, Any]) -> None:
    """The job for people: facts, then its attempts."""
    tables.show_facts(facts(job))
    attempts = job.get("attempts") or []
    if attempts:
        click.echo()
        tables.show(attempt_table(attempts))


def facts(job: dict[str, Any]) -> Iterator[tuple[str, Cell | str]]:
    """What is known, in the order in which one asks."""
    yield "job", str(job.get("job_id"))
    yield "name", label(job)
    yield "status", status_cell(job)
    if note(job):
        waits = job.get("status") in ("pending", "blocked")
        yield "why" if waits else "progress" if job.get("progress") else "error", note(job)
    yield "time", time_cell(job, time.time())
    yield "gpus", gpus_cell(job)
    if job.get("command"):
        yield "command", clean(shlex.join(job["command"]))
    yield "target", f"{job.get('target')} ({job.get('provider')})"
    yield "priority", f"{job.get('effective_priority')} ({job.get('priority_name')})"
    yield "user", str(job.get("user_id"))
    for name in ("queued_at", "started_at", "completed_at"):
        if job.get(name):
            yield name.removesuffix("_at"), local_time(job[name])
    for name in (
        "exit_code",
        "exit_class",
        "retry_of",
        "worker_id",
        "team_id",
        "cost_usd",
        "approval_id",
    ):
        if job.get(name) is not None:
            yield name.replace("_", " "), clean(flat(job[name]))
    if job.get("time_limit") is not None:
        yield "time limit", span(job["time_limit"])
    if job.get("window"):
        yield "window", clean(job["window"])
    if job.get("secrets"):
        yield "secrets", clean(", ".join(job["secrets"]))
    yield "attempts", f"{job.get('attempt')} of at most {job.get('max_attempts')}"
    for name, value in (job.get("metadata") or {}).items():
        yield f"metadata.{clean(name)}", clean(flat(value))


def attempt_table(attempts: list[dict[str, Any]]) -> Table:
    columns = [Column(name) for name in ("attempt", "phase", "host", "gpus", "pid", "started", "ended", "end", "error")]
    rows = [
        [
            str(attempt.get("number")),
            clean(attempt.get("phase")),
            clean(attempt.get("host")),
            flat(attempt.get("gpus")) or "-",
            flat(attempt.get("pid")) or "-",
            local_time(attempt.get("started_at")),
            local_time(attempt.get("ended_at")),
            clean(attempt.get("exit_class") or "-"),
            clean(attempt.get("error") or ""),
        ]
        for attempt in attempts
    ]
    return Table(columns, rows)
