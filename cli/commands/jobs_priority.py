"""`gpuyard jobs priority`."""

from __future__ import annotations

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.submission import Priority


@click.command()
@ids.job_argument
@click.argument("value", metavar="0..50|LEVEL|none")
@output_options
@client_options
@click.pass_context
def priority(ctx: click.Context, /, client: Client, out: Output, job: str, value: str) -> None:
    """Override the priority of a waiting JOB (leads and admins); `none` gives it its own back.

    The levels are low (0), normal (10), high (20), urgent (30) and critical (40, admins only).
    """
    wanted = None if value == "none" else Priority().convert(value, None, ctx)
    job_id = ids.resolve(client, job)
    what = f"the priority of {job_id} cannot be changed"
    answer = client.post(f"/api/queue/{segment(job_id)}/priority", {"priority": wanted}, what=what)
    emit_one(out, answer, view=_show)


def _show(answer: dict[str, object]) -> None:
    before, after = answer.get("previous_effective_priority"), answer.get("new_effective_priority")
    click.echo(f"{answer['job_id']} priority {before} → {after}")
