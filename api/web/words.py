"""How values are said on the page: times, durations, sizes, statuses. Pure, for templates."""

from __future__ import annotations

import shlex
from typing import Any, Final

from gpuyard.actors.model.clock import epoch

# Never by colour alone: each status has its symbol.
SYMBOLS: Final = {
    "blocked": "⊘",
    "pending": "◷",
    "running": "▶",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "–",
    "free": "○",
    "held": "●",
    "releasing": "◐",
    "busy_external": "▲",
    "quarantined": "✗",
    "missing": "?",
    "excluded": "⊘",
    "idle": "○",
    "busy": "●",
    "draining": "◐",
    "connecting": "◌",
    "offline": "✗",
    "approved": "✓",
    "rejected": "✗",
    "expired": "–",
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def symbol(status: str) -> str:
    return SYMBOLS.get(status, "•")


def duration(seconds: float | None) -> str:
    """Two units at most.

    >>> [duration(s) for s in (None, 0.4, 42, 61, 3_700, 90_000)]
    ['–', '0.4 s', '42 s', '1 min 1 s', '1 h 1 min', '1 d 1 h']
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for index, (size, unit) in enumerate(_STEPS):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            smaller, name = _STEPS[index + 1] if index + 1 < len(_STEPS) else (1, "s")
            return f"{whole} {unit}" + (f" {rest // smaller} {name}" if rest // smaller else "")
    return f"{int(seconds)} s"


def seconds_between(start: str | None, end: str | None, now: float) -> float | None:
    """From `start` to `end` (or to now), both ISO; None before the start."""
    if start is None:
        return None
    return max(0.0, (epoch(end) if end is not None else now) - epoch(start))


def moment(iso: str) -> str:
    """In UTC; the browser says it in the time of where its person is.

    >>> moment("2026-11-02T09:05:11.000Z")
    '2 Nov 09:05'
    """
    return f"{int(iso[8:10])} {_MONTHS[int(iso[5:7]) - 1]} {iso[11:16]}"


def told(detail: Any) -> str:
    """An audit's or event's detail in one line.

    >>> told({"status": "pending", "changes": {"max_concurrent": 2}, "levels": [], "why": None})
    'status: pending, changes: max concurrent: 2'
    """
    if isinstance(detail, dict):
        pairs = ((name, told(value)) for name, value in detail.items())
        return ", ".join(f"{name.replace('_', ' ')}: {text}" for name, text in pairs if text)
    if isinstance(detail, list):
        return ", ".join(told(one) for one in detail)
    if isinstance(detail, bool):
        return "yes" if detail else "no"
    return "" if detail is None else str(detail)


def storied(data: dict[str, Any]) -> str:
    """What an event says beside its name: its own sentence, else its figures that are for people.

    >>> storied({"message": "exit code 1", "attempt": 1}), storied({"fence": 7, "attempt": 1, "gpus": [0, 1], "pid": 9})
    ('exit code 1', 'attempt 1, GPU 0-1')
    """
    for name in ("message", "reason"):
        if data.get(name):
            return str(data[name])
    parts = [f"attempt {data['attempt']}"] if "attempt" in data else []
    if data.get("gpus"):
        parts.append(f"GPU {gpus(data['gpus'])}")
    if data.get("waited") is not None:
        parts.append(f"after {duration(data['waited'])}")
    if data.get("exit_code") is not None:
        parts.append(f"exit code {data['exit_code']}")
    if "before" in data and "after" in data:
        parts.append(f"from {data['before']} to {data['after']}")
    return ", ".join(parts)


def gpus(indices: list[int] | None) -> str:
    """
    >>> [gpus(None), gpus([]), gpus([3]), gpus([0, 1, 2, 5])]
    ['–', '–', '3', '0-2, 5']
    """
    if not indices:
        return "–"
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def gib(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} GB" if value >= 100 or value == int(value) else f"{value:.1f} GB"


def percent(part: float, whole: float) -> int:
    return round(100 * part / whole) if whole else 0


def command_line(job: dict[str, Any]) -> str:
    """What one types to submit such a job again.

    >>> command_line({"config_name": "sdxl", "name": "my run", "num_processes": 2, "target": "auto", "command": []})
    "gpuyard jobs submit sdxl --name 'my run' --num-processes 2"
    """
    words = ["gpuyard", "jobs", "submit"]
    if job["config_name"]:
        words.append(job["config_name"])
    for field, flag in (("name", "--name"), ("num_processes", "--num-processes"), ("time_limit", "--time-limit")):
        if job.get(field) is not None:
            words += [flag, f"{job[field]:g}s" if field == "time_limit" else str(job[field])]
    if job.get("device_ids"):
        words += ["--device-ids", ",".join(map(str, job["device_ids"]))]
    if job["target"] != "auto":
        words += ["--target", job["target"]]
    if not job["config_name"]:
        words += ["--", *job["command"]]
    return shlex.join(words)


def title(entry: dict[str, Any]) -> str:
    """What people call a job: its name, its config, or its program."""
    command = entry.get("command") or []
    return str(entry.get("name") or entry.get("config_name") or " ".join(command) or entry["job_id"])
