"""What the place that we write to can do: colour, width, questions. A pipe and a dumb terminal get plain text."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click


def is_terminal(stream: IO[Any] | None = None) -> bool:
    """Whether a person looks at `stream` (stdout)."""
    stream = stream or sys.stdout
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def has_cursor(stream: IO[Any] | None = None) -> bool:
    """Whether text there can be redrawn in place."""
    return is_terminal(stream) and os.environ.get("TERM", "dumb") != "dumb"


def has_colour(stream: IO[Any] | None = None) -> bool:
    """Colour only for a terminal that has it and a person who wants it (https://no-color.org)."""
    return has_cursor(stream) and not os.environ.get("NO_COLOR")


def has_signs(stream: IO[Any] | None = None) -> bool:
    """Whether ● and … can be written there."""
    return (getattr(stream or sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def width() -> int:
    """Columns of the terminal (80 when it does not say)."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def cells(text: str) -> int:
    """Columns that `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def cut(text: str, room: int) -> str:
    """`text` in at most `room` columns, its loss marked with …"""
    if cells(text) <= room:
        return text
    kept, used = [], 0
    for char in text:
        size = cells(char)
        if used + size > room - 1:
            break
        kept.append(char)
        used += size
    return "".join(kept).rstrip() + "…"


def say(text: str) -> None:
    """A message to the person, on stderr: stdout is for data."""
    click.echo(text, err=True)


def confirm(question: str, assume_yes: bool, instead: str = "-y") -> None:
    """Ask before something that can't be undone; `-y` answers for the person. A pipe can't be asked: exit code 2."""
    from gpuyard.cli.exits import ExitCode, Failure

    if assume_yes:
        return
    if not is_terminal(sys.stdin) or not is_terminal(sys.stderr):
        why = "nobody can be asked: this is not a terminal"
        raise Failure(f"not done: {question}", why, f"give {instead} to do it without asking", ExitCode.USAGE)
    if not click.confirm(question, default=False, err=True):
        raise Failure("nothing was changed")
