"""`gpuyard queue cleanup`."""

from __future__ import annotations

import click

from gpuyard.cli import terminal
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options, yes_option
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import amount


@click.command()
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="Jobs that ended longer ago.")
@yes_option
@output_options
@client_options
def cleanup(client: Client, out: Output, days: int, yes: bool) -> None:
    """Forget everybody's jobs that ended more than --days ago, with attempts and logs (admins); asks first."""
    terminal.confirm(f"delete all jobs that ended more than {days} days ago, with their logs?", yes)
    answer = client.post("/api/queue/cleanup", query={"days": days}, what="nothing was cleaned up")
    emit_one(out, answer, view=lambda done: click.echo(f"{amount(int(done['deleted']), 'job')} deleted"))
