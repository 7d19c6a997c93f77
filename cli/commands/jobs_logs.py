"""`gpuyard jobs logs`."""

from __future__ import annotations

import click

from gpuyard.cli import ids, terminal, watch
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, follow_option
from gpuyard.cli.text import clean_line


@click.command()
@ids.job_argument
@follow_option
@click.option("--tail", type=click.IntRange(1), metavar="N", help="Only the last N lines.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="The log of this attempt.  [default: the last]")
@client_options
@click.pass_context
def logs(ctx: click.Context, /, job: str, follow: bool, tail: int | None, attempt: int | None, client: Client) -> None:
    """Print what JOB wrote to stdout and stderr: the last 64 KiB, or --tail lines.

    With -f the whole log (or from the last --tail lines on) of all attempts, then what comes, across server restarts,
    until the job has ended. Ctrl-C ends the following, not the job. On a terminal control characters are made visible;
    a pipe gets them as they are.
    """
    job_id = ids.resolve(client, job)
    if not follow:
        text = _tail(client, job_id, tail, attempt)
        if not text:
            terminal.say(f"{job_id} has printed nothing")
        _print(text)
        return
    try:
        for event in watch.stream(client, job_id, attempt, tail):
            watch.print_line(event.data)
        if attempt is None:
            watch.tell_end(ids.find(client, job_id))
    except KeyboardInterrupt:
        ctx.exit(watch.leave(job_id))


def _tail(client: Client, job_id: str, tail: int | None, attempt: int | None) -> str:
    query = {"tail": tail, "attempt": attempt}
    answer = client.get(f"/api/jobs/{segment(job_id)}/logs", query=query, what=f"the log of {job_id} cannot be shown")
    return str(answer["logs"])


def _print(text: str) -> None:
    if not terminal.is_terminal():
        click.echo(text, nl=False, color=True)
        return
    for line in text.split("\n")[: -1 if text.endswith("\n") else None]:
        click.echo(clean_line(line))
