"""What the route of usage answers."""

from __future__ import annotations

from gpuyard.api.answers import Answer


class UsageLine(Answer, frozen=True, kw_only=True):
    """Sums of one period. What is not asked `by` is null; `running` are runs that live now, counted up to now."""

    period: str
    user_id: int | None
    username: str | None
    team_id: str | None
    place: str | None
    runs: int
    running: int
    run_hours: float
    gpu_hours: float
    gpu_seconds: float


class UsageReport(Answer, frozen=True, kw_only=True):
    """`first` and `last` are UTC days, both included. `gpu_hours` and `runs` are the sums of all lines."""

    first: str
    last: str
    period: str
    by: list[str]
    lines: list[UsageLine]
    runs: int
    gpu_hours: float
