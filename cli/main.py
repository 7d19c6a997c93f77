"""The `gpuyard` command: the root of all verbs, and the one place that turns what went wrong into an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from gpuyard.cli.exits import ExitCode
from gpuyard.cli.lazy import LazyGroup
from gpuyard.cli.registry import ROOT


class Root(LazyGroup):
    """The root group. Unlike click's own it ends with 130 after Ctrl-C, and quietly when nobody reads its output."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name or "gpuyard", complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name or "gpuyard", complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            code = ExitCode.INTERRUPTED
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            _discard_stdout()
            code = ExitCode.BROKEN_PIPE
        sys.exit(code if isinstance(code, int) else 0)


def _discard_stdout() -> None:
    """Nobody reads any more: what is still buffered must not fail again while the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from gpuyard import __version__

        click.echo(f"gpuyard {__version__}")
        ctx.exit()


root = Root(
    "gpuyard",
    ROOT,
    show_shared=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The options may stand before or after the verb. `gpuyard VERB --help` says more.",
    params=[
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
        )
    ],
)


def main() -> NoReturn:
    """The entry point of the `gpuyard` script and of `python -m gpuyard`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    root.main()
    raise AssertionError("main ends by itself")  # pragma: no cover
