"""Answers about providers."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class ProviderView(View, frozen=True, kw_only=True):
    """One provider. `health` is ok, down, disabled or not_configured, with `why` in words; `circuit` closed, open or
    half_open, `retry_at` when an open one is tried again. `running` counts its live attempts, `cost_usd` all that its
    jobs cost so far. `prices` are USD for an hour of one GPU, by hardware."""

    name: str
    enabled: bool
    health: str
    circuit: str
    running: int = 0
    cost_usd: float = 0.0
    capabilities: list[str] = []
    configured: bool = False
    why: str = ""
    retry_at: str | None = None
    prices: dict[str, float] = {}
    default_hardware: str | None = None


class ProviderTested(View, frozen=True, kw_only=True):
    """`detail` is what the provider says of itself, or why it did not answer; `seconds` how long that took."""

    name: str
    ok: bool
    detail: str
    seconds: float


class CloudCost(View, frozen=True, kw_only=True):
    """What cloud jobs cost: `key` is the provider, user, team, day, month or job that the line is for ("" for none).

    `cost_usd` sums what is known, `estimated_usd` what was expected of the same jobs; `unpriced` of them have no cost.
    """

    key: str
    jobs: int
    cost_usd: float
    estimated_usd: float
    unpriced: int = 0
