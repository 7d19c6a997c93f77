"""`gpuyard queue position`."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import ids
from gpuyard.cli.commands.jobs_why import estimate
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import clean


@click.command()
@ids.job_argument
@output_options
@client_options
def position(client: Client, out: Output, job: str) -> None:
    """Say which number JOB is in the queue and about when it starts."""
    job_id = ids.resolve(client, job)
    what = f"the position of {job_id} is not known"
    emit_one(out, client.get(f"/api/queue/position/{segment(job_id)}", what=what), view=_show)


def _show(answer: dict[str, Any]) -> None:
    place = f"number {answer['position']}" if answer.get("position") else answer.get("status")
    guess = estimate(answer)
    click.echo(clean(f"{answer['job_id']} {place}{', ' + guess if guess else ''}"))
