"""How a command ends: the exit codes of CONTRACT, and the failure that says what failed, why and what to do."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import IO, Any

import click


class ExitCode(IntEnum):
    """The numbers that scripts rely on; `run` also ends with the job's own code."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    WRONG_STATE = 6
    NO_CAPACITY = 7
    JOB_FAILED = 100
    NOT_IN_TIME = 101
    JOB_CANCELLED = 103
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Failure(click.ClickException):
    """A command cannot do what it was asked; shown on stderr in up to three lines.

    `what` failed, `why` (may be empty), and what to `do` about it (may be empty).
    """

    def __init__(self, what: str, why: str = "", do: str = "", exit_code: int = ExitCode.REFUSED) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click declares it on the class, and allows this

    def show(self, file: IO[Any] | None = None) -> None:
        from gpuyard.cli.text import clean

        out = file or sys.stderr
        click.echo(f"gpuyard: {clean(self.what)}", file=out)
        if self.why:
            click.echo(f"  why: {clean(self.why)}", file=out)
        if self.do:
            click.echo(f"  do:  {clean(self.do)}", file=out)


def job_exit(status: str, exit_class: str | None) -> ExitCode:
    """The code of a command that watched a job to its end."""
    if status == "completed":
        return ExitCode.OK
    if status == "cancelled":
        return ExitCode.JOB_CANCELLED
    if exit_class == "timeout":
        return ExitCode.NOT_IN_TIME
    return ExitCode.JOB_FAILED
