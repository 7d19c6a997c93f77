"""A worker's clock may be wrong: the times that it tells are put right by what its heartbeats say of it.

A heartbeat takes its time on the way, so a clock looks later than it is, never earlier: of the last ones the one that
came quickest counts. What is less than some seconds is the network's.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from gpuyard.actors.model.wire import Heartbeat, Report

BEATS: Final = 8
TOLERATED: Final = 3.0


class ClockWatch:
    """How far a worker's clock is ahead of ours."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=BEATS)

    def hear(self, beat: Heartbeat, wall: float) -> None:
        """`wall` is our own clock now."""
        if beat.wall:
            self._seen.append(beat.wall - wall)

    @property
    def ahead(self) -> float:
        """Seconds (less than 0: it is behind); 0 while that is too little to tell."""
        ahead = max(self._seen, default=0.0)
        return ahead if abs(ahead) > TOLERATED else 0.0

    def right(self, report: Report) -> Report:
        """The same report in our time."""
        ahead = self.ahead
        if not ahead:
            return report
        return msgspec.structs.replace(
            report,
            started_at=None if report.started_at is None else report.started_at - ahead,
            ended_at=None if report.ended_at is None else report.ended_at - ahead,
        )
