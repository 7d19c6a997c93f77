"""`gpuyard queue process`."""

from __future__ import annotations

import click

from gpuyard.cli import terminal
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import amount


@click.command()
@output_options
@client_options
def process(client: Client, out: Output) -> None:
    """Start now what may start (admins); this ends the hold that a cancel of a run leaves."""
    emit_one(out, client.post("/api/queue/process", what="the queue was not processed"), view=_show)


def _show(answer: dict[str, object]) -> None:
    started = answer.get("job_ids")
    for job_id in started if isinstance(started, list) else []:
        click.echo(job_id)
    terminal.say(f"{amount(int(str(answer.get('dispatched', 0))), 'job')} started")
