"""A circuit breaker: whether a provider is worth calling (DESIGN 4, provider errors; requirement of outages).

closed     Calls go through. Left for open after FAILURES failures in a row, or at once when the provider is down.
open       No call but a probe at `retry_at`. While it lasts no job is sent there; those that run there keep running.
half_open  A probe was answered: calls that look go through again. The next success closes it, a failure opens it for
           twice as long.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

FAILURES: Final = 5
FIRST_PAUSE: Final = 5.0
LAST_PAUSE: Final = 300.0


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit(msgspec.Struct, kw_only=True):
    """Times are epoch seconds: they outlive a restart. `why` is the last trouble in words."""

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    why: str = ""
    opened_at: float | None = None
    retry_at: float = 0.0
    pause: float = FIRST_PAUSE

    @property
    def closed(self) -> bool:
        return self.state is CircuitState.CLOSED

    @property
    def open(self) -> bool:
        return self.state is CircuitState.OPEN

    def succeeded(self) -> bool:
        """A call was answered. True when the state changed."""
        changed = not self.closed
        self.state, self.failures, self.why = CircuitState.CLOSED, 0, ""
        self.opened_at, self.pause = None, FIRST_PAUSE
        return changed

    def probed(self) -> bool:
        """The probe of an open circuit was answered. True when the state changed."""
        if not self.open:
            return False
        self.state = CircuitState.HALF_OPEN
        return True

    def failed(self, why: str, now: float, jitter: float, *, down: bool = False) -> bool:
        """A call was not answered as it should. `jitter` is 0..1. True when the state changed."""
        self.failures += 1
        self.why = why
        if self.closed and self.failures < FAILURES and not down:
            return False
        if not self.closed:
            self.pause = min(LAST_PAUSE, self.pause * 2)
        changed = not self.open
        self.state = CircuitState.OPEN
        self.opened_at = now if self.opened_at is None else self.opened_at
        self.retry_at = now + self.pause * (0.75 + jitter / 2)
        return changed

    def row(self) -> dict[str, Any]:
        """As columns of the register `provider`."""
        return {
            "circuit": str(self.state),
            "failures": self.failures,
            "why": self.why,
            "opened_at": self.opened_at,
            "retry_at": self.retry_at,
            "pause": self.pause,
        }


def from_row(row: dict[str, Any], now: float) -> Circuit:
    """A stored circuit. An open one is probed no later than its longest pause from now, whatever the clock did."""
    return Circuit(
        state=CircuitState(row.get("circuit") or "closed"),
        failures=row.get("failures") or 0,
        why=row.get("why") or "",
        opened_at=row.get("opened_at"),
        retry_at=min(row.get("retry_at") or 0.0, now + LAST_PAUSE),
        pause=row.get("pause") or FIRST_PAUSE,
    )
