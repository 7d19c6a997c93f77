"""`gpuyard version`."""

from __future__ import annotations

import platform
from typing import Any

import click

from gpuyard import __version__
from gpuyard.cli import tables
from gpuyard.cli.exits import Failure
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one


@click.command()
@output_options
@client_options
def version(client: Client, out: Output) -> None:
    """Show the version of this command, of Python, and of the server where one answers."""
    found: dict[str, Any] = {"gpuyard": __version__, "python": platform.python_version(), "server": None}
    try:
        with client.twin(timeout=2.0) as quick:
            found["server"] = server_version(quick)
    except Failure:
        pass
    emit_one(out, found, view=lambda item: tables.show_facts([(k, v or "does not answer") for k, v in item.items()]))


def server_version(client: Client) -> str | None:
    """The server's version, as its health answer has it. Raises Failure when it cannot be reached."""
    answer = client.request("GET", "/healthz")
    found = answer.get("version")
    return str(found) if found else None
