"""Durations as people write them: `12h`, `90m`, `1h30m`, `1d`, `45s`, `3600` (seconds)."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 10 * 365 * 86_400.0
UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_PARTS = re.compile(r"\s*".join(f"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in UNITS))
_PLAIN = re.compile(_NUMBER)
_FORM = 'must be a duration such as 3600, "45s", "90m", "1h30m", "12h" or "1d"'


def parse(value: object) -> float:
    """Seconds of `value`: a positive number of seconds, or text with the units w d h m s, each once, in that order.

    Raises ValueError with a text to put after the name of the field.

    >>> parse("1h30m")
    5400.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_FORM)
    seconds = _text(value) if isinstance(value, str) else value
    if not 0 < seconds <= LONGEST:  # also refuses NaN
        raise ValueError("must be longer than nothing and at most ten years")
    return float(seconds)


def _text(text: str) -> float:
    text = text.strip().lower()
    if _PLAIN.fullmatch(text):
        return float(text)
    found = _PARTS.fullmatch(text) if len(text) <= 100 else None
    if found is None or not text:
        raise ValueError(_FORM)
    return sum(float(number) * UNITS[unit] for unit, number in found.groupdict().items() if number)


def show(seconds: float) -> str:
    """The shortest text that `parse` reads back, to a whole second.

    >>> show(5400)
    '1h30m'
    """
    rest, parts = max(0, round(seconds)), []
    for unit, size in UNITS.items():
        if unit != "w" and rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts) or "0s"
