"""`gpuyard completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gpuyard.cli.exits import Failure

INTO = {
    "bash": "~/.local/share/bash-completion/completions/gpuyard",
    "zsh": "a file _gpuyard in a folder of $fpath",
    "fish": "~/.config/fish/completions/gpuyard.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(INTO)))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script of SHELL; write it to where the shell looks for it.

    \b
      bash  ~/.local/share/bash-completion/completions/gpuyard
      zsh   a file _gpuyard in a folder of $fpath
      fish  ~/.config/fish/completions/gpuyard.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise Failure(f"there is no completion for {shell}")
    try:
        click.echo(found(ctx.find_root().command, {}, "gpuyard", "_GPUYARD_COMPLETE").source())
    except RuntimeError as error:
        raise Failure(f"no completion script for {shell}", str(error)) from None
