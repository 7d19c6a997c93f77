"""Tables as CSV that a spreadsheet shows instead of running.

What people name their jobs, users and tokens ends up in tables that others open: text that begins like a formula gets
a leading `'`, and characters that nobody sees, end a row or turn the direction of text are written as escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

Value = str | int | float | None

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# A lone carriage return ends a row for some readers, and `csv` would not quote it.
UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """`text` with its unseen characters written as `\\uXXXX`."""
    return UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def cell(value: Value) -> str:
    """A value as a harmless cell. A number is never a formula, not even a negative one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = escaped(value)
    return f"'{text}" if text.lstrip(" \n").startswith(_FORMULA) else text


class _Lines(list[str]):
    """What `csv` writes to."""

    def write(self, text: str) -> None:
        self.append(text)


def table(head: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """CSV with a head line."""
    import csv

    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([cell(name) for name in head])
    writer.writerows([cell(value) for value in row] for row in rows)
    return "".join(lines)
