"""Why a remote run ended, in the words that a local one would get: from its exit code and the end of its log."""

from __future__ import annotations

import signal
from typing import Final

from gpuyard.actors.keeper.program.why import Why, why

TAIL_BYTES: Final = 65_536


def signal_in(code: int) -> int:
    """The signal that a shell means by an exit code above 128; 0 when it means none.

    >>> signal_in(137), signal_in(3)
    (9, 0)
    """
    numbers = {item.value for item in signal.valid_signals() if isinstance(item, signal.Signals)}
    return code - 128 if code - 128 in numbers else 0


def class_of(code: int) -> str:
    """The exit class of a code alone."""
    return why(code, signal_in(code), b"").exit_class


def explain(code: int, tail: bytes) -> Why:
    """Class and sentence; `tail` is the log's end."""
    return why(code, signal_in(code), tail)
