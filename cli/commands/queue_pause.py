"""`gpuyard queue pause` and `gpuyard queue resume`."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import terminal
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import amount

TARGETS = ("local", "worker", "cloud")

targets_argument = click.argument("targets", nargs=-1, type=click.Choice(TARGETS), metavar="[local|worker|cloud]...")


@click.command()
@targets_argument
@output_options
@client_options
def pause(client: Client, out: Output, targets: tuple[str, ...]) -> None:
    """Let nothing start (admins): at these targets, or anywhere. Runs go on; it holds over restarts, until `resume`.

    \b
      gpuyard queue pause local
    """
    emit_one(out, _tell(client, "pause", targets), view=_show)


@click.command()
@targets_argument
@output_options
@client_options
def resume(client: Client, out: Output, targets: tuple[str, ...]) -> None:
    """End pauses (admins), at these targets or all, and start what may start now."""
    emit_one(out, _tell(client, "resume", targets), view=_show)


def _tell(client: Client, verb: str, targets: tuple[str, ...]) -> dict[str, Any]:
    body = {"targets": list(dict.fromkeys(targets))} if targets else None
    answer: dict[str, Any] = client.post(f"/api/queue/{verb}", body, what=f"the queue was not {verb}d")
    return answer


def _show(answer: dict[str, Any]) -> None:
    for job_id in answer.get("job_ids", ()):
        click.echo(job_id)
    paused = answer.get("paused") or []
    said = f"paused: {', '.join(map(str, paused))}" if paused else "nothing is paused"
    terminal.say(f"{said}; {amount(int(answer.get('dispatched', 0)), 'job')} started")
