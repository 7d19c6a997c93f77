"""`gpuyard cloud providers list`, `test`, `enable`, `disable`, and `gpuyard cloud cost`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean

PROVIDERS = "/api/cloud/providers"
FIELDS = ("name", "health", "enabled", "circuit", "running", "cost_usd", "capabilities", "prices", "why", "retry_at")
COST_FIELDS = ("key", "jobs", "cost_usd", "estimated_usd", "unpriced")
COLOURS = {"ok": "green", "down": "red", "disabled": "yellow"}
SUMS = ("provider", "user", "team", "day", "month", "job")

name_argument = click.argument("name", metavar="PROVIDER")


@click.command("list")
@output_options
@client_options
def list_providers(client: Client, out: Output) -> None:
    """Show all known cloud providers: which take jobs, which are down and why, what runs there and what it cost."""
    found = client.get(PROVIDERS, what="the providers cannot be shown")["providers"]
    emit_list(out, found, table=_providers, fields=FIELDS, noun="provider")


@click.command("test")
@name_argument
@output_options
@client_options
@click.pass_context
def test_provider(ctx: click.Context, /, client: Client, out: Output, name: str) -> None:
    """Ask a provider now whether it answers, with our credential (admins). Exit code 1 when it does not."""
    tested = client.post(f"{PROVIDERS}/{segment(name)}/test", what=f"{clean(name)} cannot be tested")
    if not tested["success"] and out.is_table:
        why, do = (
            clean(tested["detail"]),
            "mend that and test it again; what runs there goes on, what waits for it waits",
        )
        raise Failure(f"{clean(name)} takes no calls of ours now", why, do, exit_code=ExitCode.REFUSED)
    emit_one(out, tested, view=lambda answer: click.echo(f"{name}: {clean(answer['detail'])} ({answer['seconds']} s)"))
    ctx.exit(ExitCode.OK if tested["success"] else ExitCode.REFUSED)


@click.command()
@name_argument
@output_options
@client_options
def enable(client: Client, out: Output, name: str) -> None:
    """Let a provider take jobs again (admins)."""
    _set(client, out, name, True)


@click.command()
@name_argument
@output_options
@client_options
def disable(client: Client, out: Output, name: str) -> None:
    """Send a provider no more jobs (admins); those that run there go on, those that wait for it wait."""
    _set(client, out, name, False)


@click.command()
@click.option("--by", type=click.Choice(SUMS), default="provider", show_default=True, help="What to sum by.")
@click.option("--since", metavar="TIME", help="Only jobs submitted from then on (ISO-8601).")
@click.option("--until", metavar="TIME", help="Only jobs submitted before (ISO-8601).")
@output_options
@client_options
def cost(client: Client, out: Output, by: str, since: str | None, until: str | None) -> None:
    """Show what cloud jobs cost, in USD, and what was expected of them; yours, for leads and admins everybody's."""
    query = {name: value for name, value in (("by", by), ("since", since), ("until", until)) if value is not None}
    answer = client.get("/api/cloud/cost", query=query, what="the cost cannot be shown")

    def table(costs: Sequence[dict[str, Any]]) -> Table:
        return _costs(by, costs)

    emit_list(out, answer["costs"], table=table, fields=COST_FIELDS, noun="cloud job that ran")
    if out.is_table and answer["costs"]:
        jobs = answer["total_jobs"]
        click.echo(f"{jobs} {'job' if jobs == 1 else 'jobs'}, {_usd(answer['total_usd'])} USD")


def _set(client: Client, out: Output, name: str, enabled: bool) -> None:
    what = f"{clean(name)} was not {'enabled' if enabled else 'disabled'}"
    view = client.patch(f"{PROVIDERS}/{segment(name)}", {"enabled": enabled}, what=what)
    emit_one(out, view, view=lambda answer: click.echo(f"{name} {'enabled' if answer['enabled'] else 'disabled'}"))


def _providers(providers: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column("provider", keep=True),
        Column("health", keep=True),
        Column("running", right=True),
        Column("cost", right=True),
        Column("can"),
        Column("note"),
    ]
    return Table(columns, [_row(provider) for provider in providers])


def _row(provider: dict[str, Any]) -> list[Cell | str]:
    health = str(provider["health"])
    note = clean(provider.get("why") or "")
    if provider.get("retry_at"):
        note += f" (tried again at {clean(provider['retry_at'])})"
    return [
        clean(provider["name"]),
        Cell(clean(health.replace("_", " ")), COLOURS.get(health, "")),
        str(provider["running"]) if provider.get("configured") else "-",
        _usd(provider["cost_usd"]) if provider["cost_usd"] else "-",
        clean(", ".join(provider["capabilities"])) or "-",
        note,
    ]


def _costs(by: str, costs: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column(by, keep=True),
        Column("jobs", right=True),
        Column("USD", keep=True, right=True),
        Column("expected", right=True),
        Column("note"),
    ]
    rows: list[list[Cell | str]] = [
        [
            clean(line["key"]) or "-",
            str(line["jobs"]),
            _usd(line["cost_usd"]),
            _usd(line["estimated_usd"]),
            f"{line['unpriced']} without a price" if line["unpriced"] else "",
        ]
        for line in costs
    ]
    return Table(columns, rows)


def _usd(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 0.005 or amount == 0 else "<0.01"
