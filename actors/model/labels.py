"""Labels: which workers a job may go to (requirement "Worker Selection"): all that it names must match.

A pattern is a glob as in `fnmatch.fnmatchcase`: `*` any text, `?` one character, `[a-c]` one of these, `[!a-c]` none
of these; upper and lower case differ. Nothing is compiled and no `*` but the last one is ever tried again, so a new
pattern costs microseconds and none costs more than its length times the label's, both at most 128.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

Wanted = tuple[tuple[str, str], ...]
"""What a job asks for: (name, pattern), sorted by name."""


class Miss(NamedTuple):
    """A label that does not match: `has` is the worker's value, None when it has no such label."""

    name: str
    pattern: str
    has: str | None


class _OneOf(NamedTuple):
    """One character in (or, negated, outside) the ranges; a single character is a range of itself."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def takes(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


ANY = _OneOf(True, ())
_Part = str | _OneOf | None
"""A literal character, one of several, or None for `*`."""


def wanted(labels: Mapping[str, str]) -> Wanted:
    return tuple(sorted(labels.items()))


def misses(patterns: Iterable[tuple[str, str]], labels: Mapping[str, str]) -> list[Miss]:
    """The labels of which a worker with `labels` falls short; empty when all match."""
    return [
        Miss(name, pattern, labels.get(name))
        for name, pattern in patterns
        if name not in labels or not matches(pattern, labels[name])
    ]


def matches(pattern: str, value: str) -> bool:
    parts = _parts(pattern)
    at = position = 0
    star, resume = -1, 0
    while position < len(value):
        part = parts[at] if at < len(parts) else ""
        if part is None:
            star, resume = at, position
            at += 1
        elif part and (part == value[position] if isinstance(part, str) else part.takes(value[position])):
            at += 1
            position += 1
        elif star >= 0:
            # The text that the last `*` stands for is one character longer.
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return all(part is None for part in parts[at:])


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[_Part, ...]:
    found: list[_Part] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        end = _class_end(pattern, at) if char == "[" else -1
        if end > 0:
            found.append(_one_of(pattern[at + 1 : end]))
            at = end
        elif char == "*":
            if not found or found[-1] is not None:
                found.append(None)
        else:
            found.append(ANY if char == "?" else char)
        at += 1
    return tuple(found)


def _class_end(pattern: str, start: int) -> int:
    """Where the class that opens at `start` closes, or -1: then its bracket is a plain character."""
    first = start + 1
    first += pattern[first : first + 1] == "!"
    first += pattern[first : first + 1] == "]"
    return pattern.find("]", first)


def _one_of(inside: str) -> _OneOf:
    negated = inside.startswith("!")
    text = inside[negated:]
    ranges = []
    at = 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            ranges.append((text[at], text[at + 2]))
            at += 3
        else:
            ranges.append((text[at], text[at]))
            at += 1
    return _OneOf(negated, tuple(ranges))
