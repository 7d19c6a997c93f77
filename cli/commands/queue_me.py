"""`gpuyard queue me`: the jobs of whoever asks."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import tables
from gpuyard.cli.http import Client
from gpuyard.cli.jobs import job_table
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one


@click.command()
@output_options
@client_options
def me(client: Client, out: Output) -> None:
    """Show your own jobs in the queue and the best place among them."""
    emit_one(out, client.get("/api/queue/me", what="your queue cannot be shown"), view=_show)


def _show(mine: dict[str, Any]) -> None:
    best = f"; the first of them is number {mine['best_position']}" if mine.get("best_position") else ""
    blocked = f", {mine['blocked_count']} waiting for approval" if mine.get("blocked_count") else ""
    click.echo(f"{mine['running_count']} running, {mine['pending_count']} waiting{blocked}{best}")
    jobs = [*mine.get("running_jobs", ()), *mine.get("pending_jobs", ())]
    if jobs:
        click.echo()
        tables.show(job_table(jobs))
