"""`gpuyard jobs approval JOB approve|reject`."""

from __future__ import annotations

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options
from gpuyard.cli.text import clean


@click.command()
@ids.job_argument
@click.argument("decision", type=click.Choice(["approve", "reject"]))
@click.option("--reason", metavar="TEXT", help="Why, for the record; a rejection needs it.")
@client_options
@click.pass_context
def approval(ctx: click.Context, /, client: Client, job: str, decision: str, reason: str | None) -> None:
    """Decide on JOB, which is blocked until somebody does: let it into the queue, or refuse it. Admins may, leads where
    its rule says so.

    \b
      gpuyard jobs approval k3j5 approve
      gpuyard jobs approval k3j5 reject --reason "too expensive"
    """
    if decision == "reject" and not (reason or "").strip():
        raise click.UsageError("A rejection needs --reason TEXT.", ctx)
    job_id = ids.resolve(client, job)
    what = f"{job_id} cannot be {decision}{'d' if decision == 'approve' else 'ed'}"
    answer = client.post(f"/api/queue/{segment(job_id)}/{decision}", query={"reason": reason}, what=what)
    click.echo(f"{job_id} {clean(answer.get('status', decision))}")
