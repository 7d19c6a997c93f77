"""`gpuyard approvals list`, `approve` and `reject`."""

from __future__ import annotations

import re
from typing import Any

import click

from gpuyard.cli import ids
from gpuyard.cli.approvals import FIELDS, STATUSES, approval_table
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, limit_option, output_options
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.text import clean

NUMBER = re.compile(r"[0-9]{1,9}")


@click.command("list")
@click.option(
    "--status", type=click.Choice(STATUSES), multiple=True, help="Only these; by default those that wait come first."
)
@limit_option
@output_options
@client_options
def list_approvals(client: Client, out: Output, status: tuple[str, ...], limit: int) -> None:
    """Show what waits for an approval, the oldest first, then what was decided, newest first.

    \b
      gpuyard approvals list --status pending
    """
    query = {"status": ",".join(status), "limit": min(limit, 200)}
    answer = client.get("/api/approvals", query=query, what="the approvals cannot be listed")
    emit_list(out, answer["approvals"], table=approval_table, fields=FIELDS, noun="approval")


approval_argument = click.argument("approval", metavar="APPROVAL|JOB")


@click.command()
@approval_argument
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
@client_options
def approve(client: Client, approval: str, reason: str | None) -> None:
    """Let a blocked job into the queue (admins; leads where its rule says so). APPROVAL is its number in the list.

    \b
      gpuyard approvals approve 7
      gpuyard approvals approve k3j5 --reason "for the deadline"
    """
    _decide(client, approval, "approve", "approved", reason)


@click.command()
@approval_argument
@click.option("--reason", metavar="TEXT", required=True, help="Why; the author is told.")
@client_options
def reject(client: Client, approval: str, reason: str) -> None:
    """Refuse a blocked job, which fails with the reason (admins; leads where its rule says so)."""
    _decide(client, approval, "reject", "rejected", reason)


def _decide(client: Client, approval: str, verb: str, done: str, reason: str | None) -> None:
    if NUMBER.fullmatch(approval):
        body: dict[str, Any] | None = {"reason": reason} if reason else None
        answer = client.post(f"/api/approvals/{approval}/{verb}", body, what=f"approval {approval} cannot be {done}")
    else:
        job_id = ids.resolve(client, approval)
        path = f"/api/queue/{segment(job_id)}/{verb}"
        answer = client.post(path, query={"reason": reason}, what=f"{job_id} cannot be {done}")
    click.echo(f"{clean(answer['job_id'])} {clean(answer.get('status', done))}")
