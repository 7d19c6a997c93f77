"""Why a run ended: a class for programs, a sentence for people.

Classes: completed · exit:N · signal:NAME · oom · timeout · start_failed · cancelled · requeue · lost (DESIGN 4).
"""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

# "My checkpoint is saved, run me again."
REQUEUE_CODE = 85

# How much of the log's end is searched, in bytes, and how long a sentence may get, in characters.
TAIL_BYTES = 65_536
LONGEST = 500

_GPU_OOM = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|(?:torch\.|cuda\.)OutOfMemoryError|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY|RESOURCE_EXHAUSTED: Out of memory|HIP out of memory"
)
# The last line of a traceback: an exception's name at the line's start, perhaps behind a rank ("[rank0]: ").
_EXCEPTION = re.compile(r"^(?:\[rank\d+\]:\s*)?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Failure)\b(?::.*)?$")
# What a launcher says when the program below it failed: true, but not the reason.
_LAUNCHER = re.compile(r"CalledProcessError|ChildFailedError|ProcessRaisedException|ProcessExitedException")
_ERROR_WORD = re.compile(r"\b(?:error|fatal|failed|cannot|not found|no such|denied|killed|abort)", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Why(NamedTuple):
    exit_class: str
    message: str


def why(code: int, number: int, tail: bytes, asked: str = "", reason: str = "", kernel_oom: bool = False) -> Why:
    """`number` is the signal that ended the program, else 0 and `code` is its exit code.

    `tail` is the end of the log. `asked` is set when the keeper ended the run: cancelled, timeout or lost, with
    `reason` in words. `kernel_oom`: the kernel ended a process for lack of memory while the program ran.
    """
    ended = _ended(code, number)
    if asked:
        return Why(asked, f"{reason} ({ended})")
    if not code and not number:
        return Why("completed", "")
    lines = _lines(tail)
    oom_line = next((line for line in reversed(lines) if _GPU_OOM.search(line)), "")
    if oom_line:
        return Why("oom", _cut(f"{oom_line} ({ended})"))
    if number == signal.SIGKILL:
        # Nobody here sent it, and the program cannot have said anything about it.
        if kernel_oom:
            return Why("oom", "killed by SIGKILL: the machine ran out of memory and the kernel ended the program")
        return Why("signal:SIGKILL", "killed by SIGKILL: likely out of memory")
    if code == REQUEUE_CODE:
        return Why("requeue", f"exit code {REQUEUE_CODE}: the program asks to be run again")
    line = meaningful_line(lines)
    kind = f"signal:{signal_name(number)}" if number else f"exit:{code}"
    hint = "; the kernel ended a process for lack of memory during the run" if kernel_oom else ""
    return Why(kind, _cut(f"{ended}: {line}" if line else ended) + hint)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"SIG{number}"


def meaningful_line(lines: list[str]) -> str:
    """The line of a log's end that says most: an exception, else an error, else the last line at all."""
    exceptions = [line for line in lines if _EXCEPTION.match(line)]
    causes = [line for line in exceptions if not _LAUNCHER.search(line)]
    for candidates in (causes, exceptions, [line for line in lines[-20:] if _ERROR_WORD.search(line)], lines):
        if candidates:
            return candidates[-1]
    return ""


def _ended(code: int, number: int) -> str:
    if number:
        return f"killed by {signal_name(number)}"
    if code > 128 and code - 128 in {item.value for item in signal.valid_signals() if isinstance(item, signal.Signals)}:
        return f"exit code {code}, as after {signal_name(code - 128)}"
    return f"exit code {code}"


def _lines(tail: bytes) -> list[str]:
    """As a terminal would leave them: no colours, no control characters, of a progress bar its last state."""
    text = _ESCAPES.sub("", tail.decode("utf-8", "replace"))
    shown = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    clean = ("".join(c for c in line if c.isprintable() or c == "\t").strip() for line in shown)
    return [line for line in clean if line and not line.startswith("[gpuyard] ")]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
