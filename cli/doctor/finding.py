"""A finding: how bad, of what, in words, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """ok: as it should be · note: good to know · warning: works, but · failure: does not work."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


class Finding(NamedTuple):
    """`do` is empty where nothing needs to be done."""

    level: Level
    about: str
    text: str
    do: str = ""


def ok(about: str, text: str) -> Finding:
    return Finding(Level.OK, about, text)


def note(about: str, text: str, do: str = "") -> Finding:
    return Finding(Level.NOTE, about, text, do)


def warning(about: str, text: str, do: str) -> Finding:
    return Finding(Level.WARNING, about, text, do)


def failure(about: str, text: str, do: str) -> Finding:
    return Finding(Level.FAILURE, about, text, do)
