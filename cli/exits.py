"""How a command ends: the exit codes of CONTRACT, and the failure that says what failed, why and what to do."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import IO, Any, Final

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
    UNSAFE = 78
    JOB_FAILED = 100
    NOT_IN_TIME = 101
    JOB_CANCELLED = 103
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.REFUSED: "refused: the server understood, and says why not",
    ExitCode.USAGE: "the command was not understood, or a bulk verb needs -y",
    ExitCode.UNREACHABLE: "no server answers, or it cannot at the moment",
    ExitCode.NOT_ALLOWED: "not allowed, or no valid token",
    ExitCode.NOT_FOUND: "there is no such job, GPU, config, …",
    ExitCode.WRONG_STATE: "not in this state: a running job cannot be held, …",
    ExitCode.NO_CAPACITY: "no capacity now, with --no-wait",
    ExitCode.UNSAFE: "the server is not opened to others so: no token, no TLS, or a certificate that cannot be used",
    ExitCode.JOB_FAILED: "the watched job failed",
    ExitCode.NOT_IN_TIME: "the watched job was not done in time, or reached its time limit",
    ExitCode.JOB_CANCELLED: "the watched job was cancelled",
    ExitCode.INTERRUPTED: "Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of the output went away",
}


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
