"""`gpuyard audit`: who did what, when, why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.http import Client
from gpuyard.cli.options import SPAN, client_options, limit_option, output_options
from gpuyard.cli.output import Output, emit_list, flat
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, local_time

FIELDS = (
    "at", "user_id", "username", "token_id", "address", "action", "job_id", "subject", "detail", "cause", "id",
)  # fmt: skip
PAGE = 1000


@click.command()
@click.option("--user", metavar="USER", help="Only what this user did (a name or number).")
@click.option("--action", "actions", multiple=True, metavar="ACTION", help="Only this, such as user_added; repeatable.")
@click.option("--job", metavar="ID", help="Only what was done to this job.")
@click.option("--since", type=SPAN, metavar="TIME", help="Only what was done in the last 7d, 12h, …")
@limit_option
@output_options
@client_options
def audit(
    client: Client,
    out: Output,
    user: str | None,
    actions: tuple[str, ...],
    job: str | None,
    since: float | None,
    limit: int,
) -> None:
    """Show who did what, the newest first (admins): to jobs, limits, GPUs, users, tokens and rules.

    Lines are never changed and never deleted, not by any cleanup. CSV is safe to open in a spreadsheet.

    \b
      gpuyard audit --since 7d --user ann --format csv -l 10000 > audit.csv
    """
    query: dict[str, Any] = {"action": ",".join(actions), "job_id": job}
    if user is not None:
        query["user_id" if user.isdecimal() else "username"] = user
    if since is not None:
        query["since"] = f"{time.time() - since:.3f}"
    emit_list(out, _read(client, query, limit), table=_table, fields=FIELDS, noun="line")


def _read(client: Client, query: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Pages until there are enough lines, or no more."""
    entries: list[dict[str, Any]] = []
    before: str | None = ""
    while before is not None and len(entries) < limit:
        asked = {**query, "limit": min(PAGE, limit - len(entries)), "before": before}
        page = client.get("/api/audit", query=asked, what="the audit cannot be read")
        entries += page["entries"]
        before = page["before"]
    return entries


def _table(entries: Sequence[dict[str, Any]]) -> Table:
    columns = [Column("at", keep=True), Column("who"), Column("from"), Column("action", keep=True), Column("what")]
    rows: list[list[Cell | str]] = []
    for entry in entries:
        said = " ".join(f"{name}={flat(value)}" for name, value in entry["detail"].items())
        what = clean(" ".join(filter(None, (entry["job_id"] or entry["subject"], said))))
        rows.append(
            [local_time(entry["at"]), clean(entry["username"]), clean(entry["address"]), clean(entry["action"]), what]
        )
    return Table(columns, rows)
