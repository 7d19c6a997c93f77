"""`gpuyard queue limits` and `gpuyard queue limits set`."""

from __future__ import annotations

import json
from typing import Any

import click

from gpuyard.cli import tables
from gpuyard.cli.http import Client
from gpuyard.cli.lazy import SharedOptions
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one, flat

NOTES = {
    "max_concurrent": "cloud jobs at once",
    "user_max_concurrent": "cloud jobs of one person at once",
    "team_max_concurrent": "cloud jobs of one team at once, with fair share",
    "enable_fair_share": "whether the team limit counts",
    "local_gpu_max_concurrent": "GPUs of local jobs at once (none: all)",
    "local_job_max_concurrent": "local GPU jobs at once",
    "local_cpu_job_max_concurrent": "local CPU jobs at once",
    "user_max_gpus": "GPUs of one person at once, here and on workers (none: all)",
    "starvation_threshold_minutes": "waiting so long raises the priority by one level",
    "reserve_after_seconds": "waiting so long for GPUs alone reserves them",
    "cancel_hold_seconds": "a cancel holds the queue so long (none: until something asks for work)",
    "approval_expiry_hours": "a blocked job fails undecided after so long (none: never)",
}
PATH = "/api/queue/concurrency"


@click.group(cls=SharedOptions, invoke_without_command=True)
@output_options
@client_options
@click.pass_context
def limits(ctx: click.Context, /, client: Client, out: Output) -> None:
    """Show the limits; `gpuyard queue limits set NAME=VALUE…` changes them."""
    if ctx.invoked_subcommand is None:
        emit_one(out, client.get(PATH, what="the limits cannot be shown"), view=_show)


@limits.command("set")
@click.argument("changes", metavar="NAME=VALUE...", nargs=-1, required=True)
@output_options
@client_options
@click.pass_context
def set_limits(ctx: click.Context, /, client: Client, out: Output, changes: tuple[str, ...]) -> None:
    """Change limits (admins); it holds at once, is kept over restarts, and starts what now may.

    \b
      gpuyard queue limits set local_job_max_concurrent=4 local_gpu_max_concurrent=none
    """
    body = dict(_change(ctx, change) for change in changes)
    emit_one(out, client.post(PATH, body, what="the limits were not changed"), view=_show)


def _change(ctx: click.Context, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals:
        raise click.UsageError(f"{text!r} is not NAME=VALUE.", ctx)
    if name not in NOTES:
        raise click.UsageError(f"there is no limit {name!r}; there are {', '.join(NOTES)}.", ctx)
    value = value.strip().lower()
    if value in ("none", "null", "unlimited"):
        return name, None
    if value in ("true", "yes", "on", "false", "no", "off") and name == "enable_fair_share":
        return name, value in ("true", "yes", "on")
    try:
        number = json.loads(value)
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise click.UsageError(f"{name}={value}: give a number, or none to lift the limit.", ctx)
    return name, number


def _show(values: dict[str, Any]) -> None:
    columns = [tables.Column("limit", keep=True), tables.Column("value", keep=True, right=True), tables.Column("of")]
    rows: list[list[tables.Cell | str]] = [
        [name, "none" if values[name] is None else flat(values[name]), tables.Cell(note, dim=True)]
        for name, note in NOTES.items()
        if name in values
    ]
    tables.show(tables.Table(columns, rows))
