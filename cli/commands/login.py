"""`gpuyard login`, `logout` and `whoami`: the token that this machine keeps for a server."""

from __future__ import annotations

import sys
from typing import Any

import click

from gpuyard.cli import credentials, tables, terminal
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client
from gpuyard.cli.options import SHARED, client_options, is_token, make_client, output_options, read_token
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.terminal import say
from gpuyard.cli.text import clean

ME = "/api/users/me"


@click.command()
@SHARED["server"]
@SHARED["token_file"]
@SHARED["cacert"]
def login(server: str | None, token_file: str | None, cacert: str | None) -> None:
    """Keep a token for this server, so that no verb needs --token-file.

    It is asked for, or read from --token-file or a pipe; checked; and kept in your configuration folder for you alone.

    \b
      gpuyard login --server https://gpu.lab.example
    """
    token = read_token(token_file) if token_file else _asked()
    if not token or not is_token(token):
        raise Failure(
            "that is not a token", "it is empty, or has blanks or characters that no token has", "", ExitCode.USAGE
        )
    client = make_client(server, None, cacert)
    try:
        client.use(token)
        me = client.get(ME, what=f"you are not logged in to {client.url}")
        if me.get("single_user"):
            why = "it has no users yet: its owner needs no token"
            raise Failure(f"you are not logged in to {client.url}", why, "gpuyard users add NAME --level admin")
        credentials.keep(client.url, token)
    except OSError as error:
        raise Failure(f"the token cannot be kept in {credentials.path()}", error.strerror or str(error)) from None
    finally:
        client.close()
    say(f"logged in to {client.url} as {clean(me['username'])}, level {clean(me['level'])}")


@click.command()
@SHARED["server"]
def logout(server: str | None) -> None:
    """Forget the token that is kept for this server; it stays good until it is revoked."""
    with Client(server) as client:
        if credentials.token_for(client.url) is None:
            say(f"no token is kept for {client.url}")
            return
        try:
            credentials.keep(client.url, None)
        except OSError as error:
            raise Failure(f"the token stays in {credentials.path()}", error.strerror or str(error)) from None
        say(f"the token for {client.url} is forgotten here")


@click.command()
@output_options
@client_options
def whoami(client: Client, out: Output) -> None:
    """Say who you are to this server, and what your token may be used for."""
    emit_one(out, client.get(ME, what="the server does not say who you are"), view=_show)


def _asked() -> str:
    """The token from a pipe, or typed unseen."""
    if not terminal.is_terminal(sys.stdin):
        return sys.stdin.readline().strip()
    return str(click.prompt("Token", hide_input=True, err=True)).strip()


def _show(me: dict[str, Any]) -> None:
    facts = [("user", f"{clean(me['username'])} ({me['id']})"), ("level", clean(me["level"]))]
    facts += [("team", clean(me["team_id"]))] if me["team_id"] else []
    if me["single_user"]:
        facts.append(("token", "none needed: there are no users yet"))
    else:
        facts.append(("token", f"{me['token_id']}, for {', '.join(me['scopes'])}"))
    tables.show_facts(facts)
