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

    With -f the whole log, then what comes, across attempts and server restarts, until the job has ended. Ctrl-C ends
    the following, not the job. On a terminal control characters are made visible; a pipe gets the bytes as they are.
    """
    job_id = ids.resolve(client, job)
    if not follow:
        _print(_tail(client, job_id, tail, attempt))
        return
    try:
        if attempt is not None:
            watch.follow_attempt(client, job_id, attempt, watch.print_line)
        else:
            ended = watch.to_the_end(client, job_id, line=watch.print_line)
            assert ended is not None
            watch.tell_end(ended)
    except KeyboardInterrupt:
        ctx.exit(watch.leave(job_id))


def _tail(client: Client, job_id: str, tail: int | None, attempt: int | None) -> str:
    query = {"tail": tail, "attempt": attempt}
    answer = client.get(f"/api/jobs/{segment(job_id)}/logs", query=query, what=f"the log of {job_id} cannot be shown")
    return str(answer["logs"])


def _print(text: str) -> None:
    if not terminal.is_terminal():
        click.echo(text, nl=False)
        return
    for line in text.split("\n")[: -1 if text.endswith("\n") else None]:
        click.echo(clean_line(line))
