"""`gpuyard usage`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli import terminal
from gpuyard.cli.http import Client, Query
from gpuyard.cli.options import SPAN, client_options, output_options
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean

KEYS = ("user", "team", "place")
FIELDS = (
    "period",
    "user_id",
    "username",
    "team_id",
    "place",
    "runs",
    "running",
    "run_hours",
    "gpu_hours",
    "gpu_seconds",
)


@click.command()
@click.option(
    "--by", default="user", show_default=True, metavar="KEYS", help="user, team, place: a comma list; none for one sum."
)
@click.option(
    "--period",
    type=click.Choice(["day", "week", "month", "total"]),
    default="total",
    show_default=True,
    help="A line for each.",
)
@click.option("--from", "first", metavar="DAY", help="The first day (UTC), 2026-11-01.  [default: 30 days ago]")
@click.option("--to", "last", metavar="DAY", help="The last day (UTC), included.  [default: today]")
@click.option("--last", "span", type=SPAN, metavar="TIME", help="Instead of --from: 7d, 4w.")
@click.option("--user", "user_id", type=click.IntRange(1), metavar="ID", help="Only this user's.")
@click.option("--team", "team_id", metavar="TEAM", help="Only this team's.")
@output_options
@client_options
@click.pass_context
def usage(
    ctx: click.Context,
    /,
    client: Client,
    out: Output,
    by: str,
    period: str,
    first: str | None,
    last: str | None,
    span: float | None,
    user_id: int | None,
    team_id: str | None,
) -> None:
    """Show GPU-hours by user, team, place and period; your own unless you are a lead or admin.

    Runs that live are counted up to now. What was used stays known when jobs are cleaned up.

    \b
      gpuyard usage --by team --period month --from 2026-01-01
      gpuyard usage --by user,team --last 7d --format csv > usage.csv
    """
    keys = [] if by == "none" else [part.strip() for part in by.split(",") if part.strip()]
    wrong = next((key for key in keys if key not in KEYS), None)
    if wrong is not None:
        raise click.UsageError(f"--by {wrong!r}: there are {', '.join(KEYS)}, or none.", ctx)
    if span is not None:
        if first is not None:
            raise click.UsageError("give either --from or --last.", ctx)
        first = time.strftime("%Y-%m-%d", time.gmtime(max(0.0, time.time() - max(0.0, span - 86_400))))
    # An empty `by` is left out of an address; a comma names nothing too.
    query: Query = {"by": ",".join(keys) or ",", "period": period, "from": first, "to": last}
    query |= {"user_id": user_id, "team_id": team_id}
    answer = client.get("/api/usage", query=query, what="the usage cannot be shown")
    emit_list(out, answer["lines"], table=lambda lines: _table(lines, keys), fields=FIELDS, noun="run")
    if out.is_table:
        terminal.say(f"{answer['gpu_hours']:g} GPU-hours from {answer['first']} to {answer['last']}")


def _table(lines: Sequence[dict[str, Any]], keys: Sequence[str]) -> Table:
    columns = [Column("period", keep=True)]
    columns += [Column(key, keep=True) for key in keys]
    columns += [Column(name, keep=True, right=True) for name in ("runs", "running", "hours", "GPU-hours")]
    return Table(columns, [_row(line, keys) for line in lines])


def _row(line: dict[str, Any], keys: Sequence[str]) -> list[Cell | str]:
    names = {
        "user": clean(line.get("username") or f"user {line.get('user_id')}"),
        "team": clean(line.get("team_id") or "-"),
        "place": clean(line.get("place") or "-"),
    }
    figures = [str(line.get("runs")), str(line.get("running")), f"{line['run_hours']:.2f}", f"{line['gpu_hours']:.2f}"]
    return [clean(line.get("period")), *(names[key] for key in keys), *figures]
