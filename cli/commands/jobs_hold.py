"""`gpuyard jobs hold` and `gpuyard jobs release`."""

from __future__ import annotations

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options
from gpuyard.cli.text import clean


@click.command()
@ids.jobs_argument
@client_options
def hold(client: Client, jobs: tuple[str, ...]) -> None:
    """Keep waiting jobs from starting, until they are released; each keeps its place."""
    for job_id in ids.resolve_all(client, jobs):
        client.post(f"/api/queue/{segment(job_id)}/hold", what=f"{job_id} cannot be held")
        click.echo(f"{job_id} held")


@click.command()
@ids.jobs_argument
@client_options
def release(client: Client, jobs: tuple[str, ...]) -> None:
    """Let held jobs start again when it is their turn.

    Also those that wait because they may run on a worker that is not heard (reason Orphan): whoever releases them knows
    that they do not.
    """
    for job_id in ids.resolve_all(client, jobs):
        answer = client.post(f"/api/queue/{segment(job_id)}/release", what=f"{job_id} cannot be released")
        click.echo(f"{job_id} {clean(answer.get('status', 'released'))}")
