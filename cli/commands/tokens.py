"""`gpuyard tokens list|create|revoke`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from gpuyard.cli.http import Client
from gpuyard.cli.options import SPAN, client_options, output_options
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.people import find_user, save_option, show_token
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, local_time

SCOPES = ("read", "submit", "admin")
FIELDS = ("id", "username", "name", "scopes", "live", "created_at", "expires_at", "last_used_at", "revoked_at")


def _scopes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    for scope in found:
        if scope not in SCOPES:
            raise click.BadParameter(f"{scope!r} is no scope; there are {', '.join(SCOPES)}", ctx, param)
    return tuple(dict.fromkeys(found))


@click.command("list")
@click.option("--user", metavar="USER", help="Of this user (admins).")
@click.option("--all", "everybody", is_flag=True, help="Everybody's (admins), and those that ended too.")
@output_options
@client_options
def list_tokens(client: Client, out: Output, user: str | None, everybody: bool) -> None:
    """List tokens: what for, how long, when last used. The tokens themselves are kept nowhere."""
    query: dict[str, Any] = {"all_users": True} if everybody else {}
    if user is not None:
        query = {"user_id": find_user(client, user)["id"]}
    tokens = client.get("/api/tokens", query=query, what="the tokens cannot be listed")["tokens"]
    shown = tokens if everybody or not out.is_table else [token for token in tokens if token["live"]]
    emit_list(out, shown, table=_table, fields=FIELDS, noun="token")


@click.command()
@click.argument("name", default="")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    callback=_scopes,
    metavar="SCOPES",
    help="What it may be used for: read, submit, admin; repeat it or give a comma list.  [default: all]",
)
@click.option("--expires", type=SPAN, metavar="TIME", help="When it ends by itself: 90d, 12h.  [default: never]")
@click.option("--user", metavar="USER", help="For this user (admins).")
@save_option
@output_options
@client_options
def create(
    client: Client,
    out: Output,
    name: str,
    scopes: tuple[str, ...],
    expires: float | None,
    user: str | None,
    save: str | None,
) -> None:
    """Make a token and print it, this once. NAME says where it is used.

    \b
      gpuyard tokens create ci --scope read,submit --expires 90d --save ci.token
    """
    body: dict[str, Any] = {"name": name}
    if scopes:
        body["scopes"] = list(scopes)
    if expires is not None:
        body["expires_at"] = datetime.fromtimestamp(time.time() + expires, UTC).isoformat()
    if user is not None:
        body["user_id"] = find_user(client, user)["id"]
    show_token(out, client.post("/api/tokens", body, what="no token was made"), save)


@click.command()
@click.argument("tokens", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))
@client_options
def revoke(client: Client, tokens: tuple[int, ...]) -> None:
    """Revoke tokens by their numbers: from now on they open nothing, and what they have open ends."""
    for token_id in tokens:
        token = client.delete(f"/api/tokens/{token_id}", what=f"token {token_id} was not revoked")
        click.echo(f"{token['id']} revoked{' (' + clean(token['name']) + ')' if token['name'] else ''}")


def _table(tokens: Sequence[dict[str, Any]]) -> Table:
    columns = [Column("id", keep=True, right=True), Column("user"), Column("name"), Column("scopes"), Column("state")]
    columns += [Column("expires"), Column("last used")]
    rows: list[list[Cell | str]] = []
    for token in tokens:
        state = (
            Cell("live", "green") if token["live"] else Cell("revoked" if token["revoked_at"] else "ended", dim=True)
        )
        times = [local_time(token["expires_at"]), local_time(token["last_used_at"])]
        whose = [str(token["id"]), clean(token["username"]), clean(token["name"] or "-")]
        rows.append([*whose, ",".join(token["scopes"]), state, *times])
    return Table(columns, rows)
