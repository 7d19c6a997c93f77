"""`gpuyard secrets set|list|delete`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.terminal import is_terminal
from gpuyard.cli.text import clean, local_time

FIELDS = ("name", "variable", "set_at", "set_by", "last_used_at")
MOST = 65_536  # bytes that are read; the server takes fewer


@click.command("set")
@click.argument("name")
@click.option("--env", "variable", metavar="VARIABLE", help="What a run finds it in.  [default: NAME in capitals]")
@click.option(
    "--file", "path", type=click.Path(dir_okay=False), metavar="FILE", help="Read it from FILE, whole; else it is typed"
)
@output_options
@client_options
def set_secret(client: Client, out: Output, name: str, variable: str | None, path: str | None) -> None:
    """Keep a secret for your jobs, in the place of one of before. It is typed unseen, or read from a file or a pipe.

    \b
      gpuyard secrets set hf --env HF_TOKEN
      gpuyard jobs submit --secret hf -- python train.py
    """
    body: dict[str, Any] = {"value": _value(path)}
    if variable is not None:
        body["env"] = variable
    made = client.request("PUT", f"/api/secrets/{segment(name)}", body=body, what=f"secret {name} was not set")
    emit_one(out, made, view=lambda made: click.echo(f"{clean(made['name'])} set, as {clean(made['variable'])}"))


@click.command("list")
@output_options
@client_options
def list_secrets(client: Client, out: Output) -> None:
    """List your secrets: for which variable, when set, when last used. What they are is shown nowhere."""
    secrets = client.get("/api/secrets", what="the secrets cannot be listed")["secrets"]
    emit_list(out, secrets, table=_table, fields=FIELDS, noun="secret")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@client_options
def delete(client: Client, names: tuple[str, ...]) -> None:
    """Delete secrets. Runs that have one keep it; jobs that wait for one fail when they start."""
    for name in names:
        gone = client.delete(f"/api/secrets/{segment(name)}", what=f"secret {name} was not deleted")
        click.echo(f"{clean(gone['name'])} deleted")


def _value(path: str | None) -> str:
    """A closing line break is no part of it."""
    if path is not None:
        return _text(_read(path), path)
    if not is_terminal(sys.stdin):
        return _text(sys.stdin.buffer.read(MOST), "what came in")
    return str(click.prompt("Secret", hide_input=True, err=True))


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST)
    except OSError as error:
        raise Failure(f"{path} cannot be read", error.strerror or "", exit_code=ExitCode.USAGE) from None


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Failure(f"{what} is no text", "a secret is UTF-8 text", exit_code=ExitCode.USAGE) from None


def _table(secrets: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column("name", keep=True),
        Column("variable", keep=True),
        Column("set"),
        Column("by"),
        Column("last used"),
    ]
    rows: list[list[Cell | str]] = [
        [
            clean(secret["name"]),
            clean(secret["variable"]),
            local_time(secret["set_at"]),
            clean(secret["set_by"]),
            local_time(secret["last_used_at"]),
        ]
        for secret in secrets
    ]
    return Table(columns, rows)
