"""What the verbs about users and tokens share: who is meant by a name, and where a token goes that is shown once."""

from __future__ import annotations

import os
from typing import Any

import click

from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.terminal import say
from gpuyard.cli.text import clean

user_argument = click.argument("user", metavar="USER")
save_option = click.option(
    "--save", type=click.Path(dir_okay=False), metavar="FILE", help="Write the token into FILE (0600), do not print it."
)


def find_user(client: Client, name: str) -> dict[str, Any]:
    """The user of this name or number. Raises Failure."""
    users: list[dict[str, Any]] = client.get("/api/users", what="the users cannot be listed")["users"]
    for user in users:
        if name in (user["username"], str(user["id"])):
            return user
    known = ", ".join(clean(user["username"]) for user in users)
    raise Failure(f"there is no user {name}", f"there are: {known}" if known else "there are no users yet", "",
                  ExitCode.NOT_FOUND)  # fmt: skip


def show_token(out: Output, made: dict[str, Any], save: str | None) -> None:
    """Print what was made, or put its token into the file `save`; a token that cannot be saved is printed."""
    token = str(made["token"])
    if save is not None:
        try:
            write_secret(save, token)
        except OSError as error:
            say(f"gpuyard: the token could not be written to {save}: {error.strerror}; here it is")
        else:
            made = {name: value for name, value in made.items() if name != "token"} | {"token_file": save}
            say(f"its token is in {save}; it is kept nowhere else. Use it: gpuyard login --token-file {save}")
            emit_one(out, made, view=lambda _: None)
            return
    emit_one(out, made, view=lambda _: click.echo(token))
    if out.is_table:
        say("That is its token. It is shown this once and kept nowhere: hand it over or keep it now.")
        say("  gpuyard login          asks for it, checks it and keeps it for this server")
        say("  --token-file FILE      of every verb reads it from a file (chmod 600); GPUYARD_TOKEN holds it itself")


def write_secret(name: str, token: str) -> None:
    """A new file for its owner only; a file that is there already is left alone."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
