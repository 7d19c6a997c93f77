"""`gpuyard jobs cancel`: some jobs, those of a status, or all, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli import ids, terminal
from gpuyard.cli.commands.jobs_list import fetch
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, dry_run_option, output_options, status_option, yes_option
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import amount, clean

ACTIVE = ("blocked", "pending", "running")
HELD = "Nothing waiting is started after a cancel of a run. Start what may start: gpuyard queue process"


@click.command()
@click.argument("jobs", metavar="[JOB...]", nargs=-1, shell_complete=ids.complete)
@click.option("--all", "everything", is_flag=True, help="All your jobs that have not ended.")
@click.option("--all-users", is_flag=True, help="With --all: everybody's (admins).")
@status_option
@yes_option
@dry_run_option
@output_options
@client_options
@click.pass_context
def cancel(
    ctx: click.Context,
    /,
    jobs: tuple[str, ...],
    everything: bool,
    all_users: bool,
    status: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    client: Client,
    out: Output,
) -> None:
    """Cancel jobs; a running one is stopped (TERM, then KILL), and this waits for nothing.

    \b
      gpuyard jobs cancel k3j5 m2qa
      gpuyard jobs cancel --status pending
      gpuyard jobs cancel --all -y

    All are cancelled in one transaction, so none of them slips through. --all and --status ask first.
    """
    if sum((bool(jobs), everything, bool(status))) != 1:
        raise click.UsageError("Name jobs, or give --all or --status.", ctx)
    if all_users and not everything:
        raise click.UsageError("--all-users goes with --all.", ctx)
    body: dict[str, Any]
    if everything:
        body = {"all": True, "all_users": all_users}
    elif status:
        body = {"status": list(status)}
    else:
        body = {"job_ids": ids.resolve_all(client, jobs)}
    if dry_run:
        _predict(client, body)
        return
    if not jobs:
        whose = "everybody's" if all_users else "your"
        which = f"{', '.join(status)} jobs" if status else f"{whose} jobs that have not ended"
        terminal.confirm(f"cancel all {which}?", yes)
    answer = _one(client, body["job_ids"][0]) if len(body.get("job_ids", ())) == 1 else _many(client, body)
    emit_one(out, answer, view=_show)
    if answer.get("processing_held"):
        terminal.say(HELD)
    if answer.get("failed"):
        raise Failure(
            f"{amount(len(answer['failed']), 'job')} could not be cancelled",
            "; ".join(f"{each['job_id']}: {each['detail']}" for each in answer["failed"][:5]),
            exit_code=ExitCode.WRONG_STATE,
        )


def _one(client: Client, job_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"/api/jobs/{segment(job_id)}/cancel", what=f"{job_id} cannot be cancelled")
    return answer


def _many(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/api/jobs/cancel", body, what="the jobs cannot be cancelled")
    return answer


def _show(answer: dict[str, Any]) -> None:
    if "cancelled" not in answer:
        stopping = answer.get("phase") == "stopping"
        click.echo(f"{answer['job_id']} {'is being stopped' if stopping else clean(answer.get('status'))}")
        return
    for job_id in answer["cancelled"]:
        click.echo(job_id)
    waiting = answer.get("still_pending")
    tail = f"; {amount(waiting, 'job')} still waiting" if waiting else ""
    terminal.say(f"{amount(len(answer['cancelled']), 'job')} cancelled or being stopped{tail}")


def _predict(client: Client, body: dict[str, Any]) -> None:
    """Say which jobs it would be, as things stand."""
    found: Sequence[str]
    if "job_ids" in body:
        found = body["job_ids"]
    else:
        statuses = [each for each in body.get("status", ACTIVE) if each in (*ACTIVE, "queued")]
        found = (
            [str(job["job_id"]) for job in fetch(client, {"status": ",".join(statuses)}, 10_000)[0]] if statuses else []
        )
    for job_id in found:
        click.echo(job_id)
    terminal.say(f"{amount(len(found), 'job')} would be cancelled")
