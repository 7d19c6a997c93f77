"""`gpuyard jobs delete` and `gpuyard jobs purge`."""

from __future__ import annotations

import time
from typing import Any

import click

from gpuyard.cli import ids, terminal
from gpuyard.cli.commands.jobs_list import fetch
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import ApiError, Client, segment
from gpuyard.cli.jobs import TERMINAL
from gpuyard.cli.options import SPAN, client_options, dry_run_option, status_option, yes_option
from gpuyard.cli.text import amount, epoch

MOST = 100_000


@click.command()
@ids.jobs_argument
@yes_option
@client_options
def delete(client: Client, jobs: tuple[str, ...], yes: bool) -> None:
    """Forget ended jobs, with their attempts, logs and folders. Several at once ask first."""
    found = ids.resolve_all(client, jobs)
    if len(found) > 1:
        terminal.confirm(f"delete {len(found)} jobs with their logs?", yes)
    for job_id in found:
        client.delete(f"/api/jobs/{segment(job_id)}", what=f"{job_id} cannot be deleted")
        click.echo(f"{job_id} deleted")


@click.command()
@status_option
@click.option("--older-than", type=SPAN, metavar="TIME", help="Only jobs that ended longer ago: 30d, 12h.")
@yes_option
@dry_run_option
@client_options
@click.pass_context
def purge(
    ctx: click.Context,
    /,
    client: Client,
    status: tuple[str, ...],
    older_than: float | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Forget ended jobs by status and age, with their logs and folders; asks first. Jobs that have not ended stay.

    \b
      gpuyard jobs purge --status failed --older-than 30d
    """
    if not status and older_than is None:
        raise click.UsageError("Give --status, --older-than or both.", ctx)
    unfit = [each for each in status if each not in TERMINAL]
    if unfit:
        raise click.UsageError(f"Only ended jobs can be purged, not {', '.join(unfit)} ones.", ctx)
    found = ended(client, status or tuple(sorted(TERMINAL)), older_than)
    if dry_run or not found:
        for job in found:
            click.echo(job["job_id"])
        terminal.say(f"{amount(len(found), 'job')} would be deleted" if dry_run else "no job fits")
        return
    terminal.confirm(f"delete {amount(len(found), 'job')} with their logs?", yes)
    deleted, kept = 0, []
    for job in found:
        try:
            client.delete(f"/api/jobs/{segment(job['job_id'])}")
            click.echo(job["job_id"])
            deleted += 1
        except ApiError as error:
            if error.exit_code != ExitCode.NOT_FOUND:
                kept.append(f"{job['job_id']}: {error.why}")
    terminal.say(f"{amount(deleted, 'job')} deleted")
    if kept:
        raise Failure(f"{amount(len(kept), 'job')} could not be deleted", "; ".join(kept[:5]))


def ended(client: Client, statuses: tuple[str, ...], older_than: float | None) -> list[dict[str, Any]]:
    """The ended jobs of these statuses that ended more than `older_than` seconds ago."""
    jobs, _ = fetch(client, {"status": ",".join(statuses)}, MOST)
    if older_than is None:
        return jobs
    limit = time.time() - older_than
    return [job for job in jobs if (epoch(job.get("completed_at")) or time.time()) < limit]
