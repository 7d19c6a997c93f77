"""`gpuyard users list|add|set-level|edit|disable|enable|remove`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options, yes_option
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.people import find_user, save_option, show_token, user_argument
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.terminal import confirm, is_terminal, say
from gpuyard.cli.text import clean, local_time

LEVELS = ("viewer", "researcher", "lead", "admin")
FIELDS = ("id", "username", "level", "team_id", "disabled", "tokens", "last_used_at", "created_at")

level_argument = click.argument("level", type=click.Choice(LEVELS))


@click.command("list")
@output_options
@client_options
def list_users(client: Client, out: Output) -> None:
    """List the users (leads and admins)."""
    users = client.get("/api/users", what="the users cannot be listed")["users"]
    emit_list(out, users, table=_table, fields=FIELDS, noun="user")


@click.command()
@click.argument("username")
@click.option("--level", type=click.Choice(LEVELS), default="researcher", show_default=True, help="What they may do.")
@click.option("--team", metavar="ID", help="Their team.")
@save_option
@output_options
@client_options
def add(client: Client, out: Output, username: str, level: str, team: str | None, save: str | None) -> None:
    """Add a user (admins) and print its first token, this once.

    The first user must be an admin: from then on everybody needs a token, the server's owner too. That user takes over
    the jobs that ran before.

    \b
      gpuyard users add root --level admin --save ~/gpuyard.token
      gpuyard login --token-file ~/gpuyard.token
    """
    body = {"username": username, "level": level} | ({} if team is None else {"team_id": team})
    made = client.post("/api/users", body, what=f"user {username} was not added")
    if made.get("first"):
        say(f"User {clean(username)} was added. This server now asks everybody for a token, you too.")
    show_token(out, made, save)


@click.command("set-level")
@user_argument
@level_argument
@client_options
def set_level(client: Client, user: str, level: str) -> None:
    """Give USER (a name or number) another level (admins). It holds at once."""
    _change(client, user, {"level": level})


@click.command()
@user_argument
@click.option("--username", metavar="NAME", help="Another name.")
@click.option("--team", metavar="ID", help="Another team; none takes them out of it.")
@client_options
@click.pass_context
def edit(ctx: click.Context, /, client: Client, user: str, username: str | None, team: str | None) -> None:
    """Change the name or the team of USER (admins)."""
    body: dict[str, Any] = {} if username is None else {"username": username}
    if team is not None:
        body["team_id"] = None if team == "none" else team
    if not body:
        raise click.UsageError("Say what shall change: --username NAME, --team ID.", ctx)
    _change(client, user, body)


@click.command()
@user_argument
@client_options
def disable(client: Client, user: str) -> None:
    """Shut USER out (admins): its tokens open nothing until it is enabled. Its jobs go on."""
    _change(client, user, {"disabled": True})


@click.command()
@user_argument
@client_options
def enable(client: Client, user: str) -> None:
    """Let USER in again (admins)."""
    _change(client, user, {"disabled": False})


@click.command("set-password")
@click.argument("user", metavar="USER", required=False)
@click.option("--none", "nothing", is_flag=True, help="Take the password away instead.")
@client_options
def set_password(client: Client, user: str | None, nothing: bool) -> None:
    """Set your password for the page's log-in, or USER's (admins). It is asked for twice, or read from a pipe.

    Log-ins with the one of before end. The command line and programs use tokens, never a password.
    """
    me = client.get("/api/users/me", what="the server does not say who you are")
    whose = me["id"] if user is None else find_user(client, user)["id"]
    password = None if nothing else _password()
    what = "the password was not set"
    client.request("PUT", f"/api/users/{whose}/password", body={"password": password}, what=what)
    say("the password is taken away" if nothing else "the password is set")


def _password() -> str:
    """From a pipe, or typed unseen and typed again."""
    if not is_terminal(sys.stdin):
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))


@click.command()
@user_argument
@yes_option
@client_options
def remove(client: Client, user: str, yes: bool) -> None:
    """Delete USER and its tokens (admins). Its jobs stay; its number is never given again."""
    found = find_user(client, user)
    confirm(f"delete user {clean(found['username'])} and its tokens?", yes)
    client.delete(f"/api/users/{found['id']}", what=f"user {user} was not deleted")
    click.echo(f"{clean(found['username'])} deleted")


def _change(client: Client, name: str, body: dict[str, Any]) -> None:
    found = find_user(client, name)
    user = client.patch(f"/api/users/{found['id']}", body, what=f"user {name} was not changed")
    state = "disabled" if user["disabled"] else user["level"]
    team = f", team {clean(user['team_id'])}" if user.get("team_id") else ""
    click.echo(f"{clean(user['username'])} {state}{team}")


def _table(users: Sequence[dict[str, Any]]) -> Table:
    columns = [Column("id", keep=True, right=True), Column("username", keep=True), Column("level"), Column("team")]
    columns += [Column("tokens", right=True), Column("last used")]
    rows: list[list[Cell | str]] = []
    for user in users:
        level = Cell("disabled", "yellow") if user.get("disabled") else Cell(clean(user["level"]))
        name, team = clean(user["username"]), clean(user.get("team_id") or "-")
        rows.append([str(user["id"]), name, level, team, str(user["tokens"]), local_time(user.get("last_used_at"))])
    return Table(columns, rows)
