"""`gpuyard teams list|add|rename|remove`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.tables import Column, Table
from gpuyard.cli.text import clean

FIELDS = ("id", "name", "members", "created_at")


@click.command("list")
@output_options
@client_options
def list_teams(client: Client, out: Output) -> None:
    """List the teams and who is in them."""
    teams = client.get("/api/teams", what="the teams cannot be listed")["teams"]
    emit_list(out, teams, table=_table, fields=FIELDS, noun="team")


@click.command()
@click.argument("name")
@click.option("--id", "team_id", metavar="ID", help="Its id; by default made from the name.")
@output_options
@client_options
def add(client: Client, out: Output, name: str, team_id: str | None) -> None:
    """Add a team (admins). `gpuyard users edit USER --team ID` puts somebody into it."""
    body = {"name": name} | ({} if team_id is None else {"team_id": team_id})
    team = client.post("/api/teams", body, what=f"team {name} was not added")
    emit_one(out, team, view=lambda made: click.echo(clean(made["id"])))


@click.command()
@click.argument("team")
@click.argument("name")
@client_options
def rename(client: Client, team: str, name: str) -> None:
    """Give TEAM (its id) another name (admins); its id stays."""
    made = client.patch(f"/api/teams/{segment(team)}", {"name": name}, what=f"team {team} was not renamed")
    click.echo(f"{clean(made['id'])} {clean(made['name'])}")


@click.command()
@click.argument("team")
@client_options
def remove(client: Client, team: str) -> None:
    """Delete TEAM (its id), once nobody is in it (admins)."""
    client.delete(f"/api/teams/{segment(team)}", what=f"team {team} was not deleted")
    click.echo(f"{clean(team)} deleted")


def _table(teams: Sequence[dict[str, Any]]) -> Table:
    rows = [[clean(team["id"]), clean(team["name"]), clean(", ".join(team["members"]) or "-")] for team in teams]
    return Table([Column("id", keep=True), Column("name"), Column("members")], rows)
