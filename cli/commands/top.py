"""`gpuyard top`: a live view; q or Ctrl-C ends it. Into a pipe it is one snapshot as text."""

from __future__ import annotations

import sys

import click

from gpuyard.cli import keys, terminal
from gpuyard.cli.exits import ExitCode
from gpuyard.cli.http import Client, Unreachable
from gpuyard.cli.options import SPAN, client_options

SLOWEST = 10.0


@click.command()
@click.option("--every", type=SPAN, default="1s", show_default=True, metavar="TIME", help="Look so often.")
@click.option("--once", is_flag=True, help="One snapshot as text.")
@client_options
@click.pass_context
def top(ctx: click.Context, /, client: Client, every: float, once: bool) -> None:
    """Watch the GPUs, what runs with its progress, and what waits and why.

    q or Ctrl-C ends it. Into a pipe, on a terminal that cannot redraw, or with --once it prints one snapshot.
    """
    from rich.console import Console

    from gpuyard.cli import live

    if once or not terminal.has_cursor():
        width = terminal.width() if terminal.is_terminal() else 240
        Console(file=sys.stdout, width=width, no_color=True, highlight=False).print(live.screen(live.take(client)))
        return
    try:
        _watch(client, every)
    except KeyboardInterrupt:
        ctx.exit(ExitCode.OK)


def _watch(client: Client, every: float) -> None:
    from rich.console import Console, Group
    from rich.text import Text

    from gpuyard.cli import live

    console = Console(highlight=False, no_color=not terminal.has_colour())
    snapshot = live.take(client)
    pause = every
    with (
        keys.pressed() as pressed,
        live.display(console, screen=True) as view,
    ):
        view.update(live.screen(snapshot), refresh=True)
        while True:
            if "q" in pressed.within(pause).lower():
                return
            try:
                snapshot = live.take(client)
            except Unreachable as error:
                # Stay: a server that restarts comes back.
                pause = min(SLOWEST, pause * 1.5)
                gone = Text(f"{error.what}: {error.why}; trying again (q ends)", style="red")
                view.update(Group(gone, Text(), live.screen(snapshot)), refresh=True)
                continue
            pause = every
            view.update(live.screen(snapshot), refresh=True)
