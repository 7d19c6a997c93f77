"""`gpuyard jobs events`: a job's story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, flat
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, local_time

FIELDS = ("id", "at", "kind", "by", "cause")


@click.command()
@ids.job_argument
@output_options
@client_options
def events(client: Client, out: Output, job: str) -> None:
    """Show every change of JOB's state, oldest first: who, when, why."""
    job_id = ids.resolve(client, job)
    answer = client.get(f"/api/jobs/{segment(job_id)}/events", what=f"the events of {job_id} cannot be shown")
    emit_list(out, answer["events"], table=table, fields=FIELDS, noun="event")


def table(events: Sequence[dict[str, Any]]) -> Table:
    columns = [Column("at", keep=True), Column("what", keep=True), Column("by"), Column("details")]
    return Table(
        columns,
        [
            [local_time(event.get("at")), clean(event.get("kind")), clean(event.get("by") or "-"), Cell(details(event))]
            for event in events
        ],
    )


def details(event: dict[str, Any]) -> str:
    """The event's own data as `name=value` words."""
    data = event.get("data") or {}
    return clean(" ".join(f"{name}={flat(value)}" for name, value in data.items() if value not in (None, "", [])))
