"""`gpuyard jobs list`."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import terminal
from gpuyard.cli.http import Client, Query
from gpuyard.cli.jobs import FIELDS, job_table
from gpuyard.cli.options import client_options, limit_option, output_options, status_option
from gpuyard.cli.output import Output, emit_list

PAGE = 500


@click.command("list")
@status_option
@limit_option
@click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="Leave out the newest N.")
@click.option("--target", type=click.Choice(["auto", "worker", "local", "cloud"]), help="Only jobs of this target.")
@click.option("--name", metavar="NAME", help="Only jobs of this name or config.")
@click.option("--user", "user_id", type=click.IntRange(1), metavar="ID", help="Only jobs of this user.")
@output_options
@client_options
def list_jobs(
    client: Client,
    out: Output,
    status: tuple[str, ...],
    limit: int,
    offset: int,
    target: str | None,
    name: str | None,
    user_id: int | None,
) -> None:
    """Show the newest jobs, newest first.

    \b
      gpuyard jobs list --status running,queued
      gpuyard jobs list --format json -o job_id,metadata.run_name
    """
    query = {"status": ",".join(status), "target": target, "name": name, "user_id": user_id}
    jobs, total = fetch(client, query, limit, offset)
    emit_list(out, jobs, table=job_table, fields=FIELDS, noun="job")
    if out.is_table and terminal.is_terminal() and offset + len(jobs) < total:
        terminal.say(f"{len(jobs)} of {total} jobs; -l {total} shows all")


def fetch(client: Client, query: Query, limit: int, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """At most `limit` jobs and how many there are in all; asked page by page."""
    jobs: list[dict[str, Any]] = []
    total = 0
    while len(jobs) < limit:
        page = {"limit": min(PAGE, limit - len(jobs)), "offset": offset + len(jobs)}
        answer = client.get("/api/jobs", query={**query, **page}, what="the jobs cannot be listed")
        jobs += answer["jobs"]
        total = int(answer.get("total", len(jobs)))
        if len(answer["jobs"]) < page["limit"]:
            break
    return jobs, max(total, len(jobs))
