"""`gpuyard users rescue`: a new token for an admin, made in the database of a stopped server."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gpuyard.cli.commands.db import data_dir_option, database, refusals
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.output import Output
from gpuyard.cli.people import save_option, show_token


@click.command()
@click.argument("username", required=False)
@save_option
@data_dir_option
def rescue(username: str | None, save: str | None, data_dir: Path | None) -> None:
    """Make a new token for an admin when all of theirs are lost; the server must be stopped.

    Whoever may write the database may do this. It stands in the audit. USERNAME is the first admin if none is named.
    """
    from gpuyard.actors.people import new_secret
    from gpuyard.actors.store.rescue import rescue as rescued

    path = database(data_dir)
    if not path.exists():
        raise Failure(f"there is no database at {path}", do="name its folder: --data-dir", exit_code=ExitCode.NOT_FOUND)
    with refusals("no token was made"):
        found = rescued(path, username, time.time(), new_secret)
    show_token(Output(), {"username": found.username, "token": found.secret}, save)
