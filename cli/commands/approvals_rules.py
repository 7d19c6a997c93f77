"""`gpuyard approvals rules list`, `add`, `set`, `remove` and `test`."""

from __future__ import annotations

import json
from typing import Any

import click

from gpuyard.cli import tables, terminal
from gpuyard.cli.approvals import RULE_FIELDS, rule_table
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.tables import Column, Table
from gpuyard.cli.text import amount, clean

PATH = "/api/approvals/rules"
TYPES = ("cost_exceeds", "hardware_type", "daily_jobs_exceed", "first_job", "config_pattern", "provider")
LEVELS = ("viewer", "researcher", "lead", "admin")
SETTABLE = ("name", "type", *RULE_FIELDS[3:])

rule_argument = click.argument("rule", metavar="RULE", type=click.IntRange(1))


def _levels(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    for each in found:
        if each not in LEVELS:
            raise click.BadParameter(f"{each!r} is no level; there are {', '.join(LEVELS)}", ctx, param)
    return list(dict.fromkeys(found))


@click.command("list")
@output_options
@client_options
def list_rules(client: Client, out: Output) -> None:
    """Show the approval rules in the order in which they are looked at: the first that matches blocks a job."""
    rules = client.get(PATH, what="the rules cannot be listed")["rules"]
    emit_list(out, rules, table=rule_table, fields=RULE_FIELDS, noun="rule")


@click.command()
@click.argument("name")
@click.argument("type", type=click.Choice(TYPES))
@click.option("--threshold", type=click.FloatRange(0), metavar="N", help="USD, jobs a day, or GPUs.")
@click.option("--condition", metavar="GLOB", help="Of hardware, config or provider.")
@click.option(
    "--approver",
    "required_approver_level",
    type=click.Choice(["lead", "admin"]),
    default="admin",
    show_default=True,
    help="Who may decide; admins always may.",
)
@click.option(
    "--exempt", "exempt_levels", multiple=True, callback=_levels, metavar="LEVEL,…", help="Levels that it leaves alone."
)
@click.option("--precedence", type=int, metavar="N", help="Smaller is looked at first.  [default: the last]")
@click.option("--disabled", is_flag=True, help="Not in force yet: try it first with `test`.")
@output_options
@client_options
def add(client: Client, out: Output, disabled: bool, **values: Any) -> None:
    """Block later submits that match until somebody approves them (admins).

    \b
      gpuyard approvals rules add dear cost_exceeds --threshold 50 --approver lead --exempt admin
      gpuyard approvals rules add newcomers first_job --approver lead
      gpuyard approvals rules add big-gpus hardware_type --condition 'h100*' --threshold 4

    TYPE is one of cost_exceeds and daily_jobs_exceed (with --threshold), hardware_type, config_pattern and provider
    (with --condition), first_job.
    """
    body = {name: value for name, value in values.items() if value is not None} | {"enabled": not disabled}
    emit_one(out, client.post(PATH, body, what="the rule was not added"), view=_show)


@click.command("set")
@rule_argument
@click.argument("changes", metavar="FIELD=VALUE...", nargs=-1, required=True)
@output_options
@client_options
@click.pass_context
def set_rule(ctx: click.Context, /, client: Client, out: Output, rule: int, changes: tuple[str, ...]) -> None:
    """Change a RULE for later submits (admins); jobs that are blocked stay so.

    \b
      gpuyard approvals rules set 3 threshold=100 enabled=false
    """
    body = dict(_change(ctx, change) for change in changes)
    answer = client.request("PATCH", f"{PATH}/{rule}", body=body, what=f"rule {rule} was not changed")
    emit_one(out, answer, view=_show)


def _change(ctx: click.Context, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals:
        raise click.UsageError(f"{text!r} is not FIELD=VALUE.", ctx)
    if name not in SETTABLE:
        raise click.UsageError(f"a rule has no field {name!r}; there are {', '.join(SETTABLE)}.", ctx)
    if name == "exempt_levels":
        return name, [part.strip() for part in value.split(",") if part.strip()]
    if name == "enabled":
        if value.lower() not in ("true", "yes", "on", "false", "no", "off"):
            raise click.UsageError(f"{text}: give true or false.", ctx)
        return name, value.lower() in ("true", "yes", "on")
    if name in ("threshold", "precedence"):
        if name == "threshold" and value.lower() in ("none", "null"):
            return name, None
        try:
            return name, json.loads(value)
        except ValueError:
            raise click.UsageError(f"{text}: give a number.", ctx) from None
    return name, value


@click.command()
@rule_argument
@client_options
def remove(client: Client, rule: int) -> None:
    """Remove a RULE (admins); jobs that are blocked stay so."""
    client.delete(f"{PATH}/{rule}", what=f"rule {rule} was not removed")
    click.echo(f"rule {rule} removed")


@click.command("test")
@rule_argument
@click.option("--last", type=click.IntRange(1, 1000), default=100, show_default=True, metavar="N", help="So many jobs.")
@output_options
@client_options
def test_rule(client: Client, out: Output, rule: int, last: int) -> None:
    """Show which of the last submitted jobs a RULE would have blocked, enabled or not (admins)."""
    path, query = f"{PATH}/{rule}/test", {"limit": last}
    answer = client.post(path, query=query, what=f"rule {rule} cannot be tried")
    emit_list(out, answer["matches"], table=_matches, fields=("job_id", "reason"), noun="job")
    if out.is_table:
        terminal.say(f"of the last {amount(answer['tested'], 'job')} it would have blocked {answer['matched']}")


def _matches(matches: Any) -> Table:
    rows = [[clean(match["job_id"]), clean(match["reason"])] for match in matches]
    return Table([Column("job", keep=True), Column("why")], rows)


def _show(rule: dict[str, Any]) -> None:
    tables.show(rule_table([rule]))
