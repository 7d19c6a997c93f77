"""Answers about providers."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class ProviderView(View, frozen=True, kw_only=True):
    name: str
    enabled: bool
    health: str
    circuit: str
    running: int = 0
    cost_usd: float = 0.0
    capabilities: list[str] = []
