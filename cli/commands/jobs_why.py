"""`gpuyard jobs why`: the reasons, and what would unblock it."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.jobs import note, reason_lines
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import clean, span


@click.command()
@ids.job_argument
@output_options
@client_options
def why(client: Client, out: Output, job: str) -> None:
    """Say why JOB waits and what would make it start; of an ended one, how it ended."""
    found = ids.find(client, job)
    if found["status"] not in ("pending", "blocked"):
        emit_one(
            out,
            {"job_id": found["job_id"], "status": found["status"], "reasons": [], "error_message": note(found) or None},
            view=_show,
        )
        return
    what = f"it is not known why {found['job_id']} waits"
    emit_one(out, client.get(f"/api/queue/position/{segment(found['job_id'])}", what=what), view=_show)


def _show(answer: dict[str, Any]) -> None:
    place = f", number {answer['position']} in the queue" if answer.get("position") else ""
    message = f": {answer['error_message']}" if answer.get("error_message") else ""
    click.echo(clean(f"{answer['job_id']} is {answer['status']}{place}{message}"))
    for line in reason_lines(answer.get("reasons") or []):
        click.echo(f"  {line}")
    guess = estimate(answer)
    if guess:
        click.echo(f"  {guess}")


def estimate(answer: dict[str, Any]) -> str:
    """The guess of its start, or nothing where there is none."""
    about = answer.get("estimated_wait_seconds")
    low, high = answer.get("estimated_wait_low"), answer.get("estimated_wait_high")
    if about is None:
        return ""
    between = f" (between {span(low)} and {span(high)})" if low is not None and high is not None and low != high else ""
    return f"about {span(about)} to go{between}"
