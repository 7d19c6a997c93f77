"""How far a training is, read from what it prints: `step 120/400 loss 0.53`, `45%|████ | 120/400 [00:10<00:20]`, …"""

from __future__ import annotations

import re
from typing import NamedTuple

_OF = re.compile(r"\b(?:(step|steps|iter|iteration|epoch|batch)\b[\s:=#]*)?(\d+)\s*(?:/|of)\s*(\d+)\b", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%")
_LOSS = re.compile(r"\b(?:\w+_)?loss\b['\"]?\s*[:=]?\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)\b", re.IGNORECASE)


class Progress(NamedTuple):
    """`share` from 0 to 1 where it is known; `text` is the line that said so; `loss` as it was printed."""

    share: float | None
    text: str
    loss: str | None


def progress_of(log: str) -> Progress | None:
    """The latest progress in the end of a log (lines, or a bar redrawn with carriage returns)."""
    for line in reversed(re.split(r"[\r\n]+", log)[-200:]):
        found = of_line(line)
        if found is not None:
            return found
    return None


def of_line(line: str) -> Progress | None:
    """The progress that one line tells, if it tells any; colours are left out."""
    line = _COLOUR.sub("", line)
    share = _share(line)
    loss = _LOSS.search(line)
    if share is None and loss is None:
        return None
    return Progress(share, line.strip(), loss[1] if loss else None)


def _share(line: str) -> float | None:
    """Of several counts a named step wins (`epoch 1/3 step 50/400`), then a bar's percentage, then epochs."""
    counts = [match for match in _OF.finditer(line) if int(match[2]) <= int(match[3]) > 0]
    named = [match for match in counts if match[1]]
    steps = [match for match in named if match[1].lower() != "epoch"]
    percent = _PERCENT.search(line)
    told = float(percent[1]) / 100 if percent and float(percent[1]) <= 100 else None
    if steps:
        return int(steps[-1][2]) / int(steps[-1][3])
    if told is not None and (counts or "|" in line or _LOSS.search(line)):
        return told
    return int(named[-1][2]) / int(named[-1][3]) if named else None
