"""Text for people: harmless on a terminal, times and spans short and local.

Names, log lines and error texts come from whoever may submit a job: on a terminal their control characters could move
the cursor, retitle the window or hide text, so they are shown as visible signs (`clean`).
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

# Colour and style sequences are dropped whole; any other control character becomes visible.
_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_HOSTILE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def _visible(match: re.Match[str]) -> str:
    """`\\x1b` as ␛, `\\x7f` as ␡, everything else as its escape."""
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(text: object) -> str:
    """`text` on one line, safe to print on a terminal: no control, bidirectional or surrogate character is left."""
    return _HOSTILE.sub(_visible, _SGR.sub("", str(text).replace("\r\n", "\n").replace("\n", " ").replace("\t", " ")))


def clean_line(line: str) -> str:
    """A log line for a terminal: of a progress bar redrawn with carriage returns only the last state; tabs are kept."""
    last = line.rstrip("\r\n").rpartition("\r")[2]
    return _HOSTILE.sub(_visible, _SGR.sub("", last))


def epoch(value: object) -> float | None:
    """Epoch seconds of an ISO-8601 time as the server sends it, or None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def local_time(value: object, now: float | None = None) -> str:
    """An ISO-8601 time in the local zone: `14:05:09` today, `Nov 21 14:05` this year, `2025-11-21 14:05` before."""
    at = epoch(value)
    if at is None:
        return "-" if value is None else clean(value)
    then = time.localtime(at)
    today = time.localtime(time.time() if now is None else now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    if then.tm_year == today.tm_year:
        return time.strftime("%b %d %H:%M", then)
    return time.strftime("%Y-%m-%d %H:%M", then)


def span(seconds: float | None) -> str:
    """A length of time in its two largest units: `0.4s`, `42s`, `3m12s`, `5h07m`, `2d04h`."""
    if seconds is None:
        return "-"
    if seconds < 0:
        seconds = 0.0
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def amount(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
