"""What the Scheduler knows of the cloud providers: the newest facts of the dispatcher, and what they mean for a job."""

from __future__ import annotations

from typing import Final

from gpuyard.actors.model.cloud_prices import PriceTable
from gpuyard.actors.model.events import ProviderFacts
from gpuyard.actors.model.job import JobSpec

DEFAULT_PROVIDER: Final = "replicate"


class Clouds:
    """`available` may be sent jobs now, `down` will take them again by themselves (name → why), and are asked again at
    `retry_at` (epoch seconds), `refused` take none
    until somebody does something (not configured, disabled). `known` once the dispatcher has spoken. `progress` is
    fence → how far a run is, in the provider's words."""

    def __init__(self) -> None:
        self.known = False
        self.available: frozenset[str] = frozenset()
        self.down: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.retry_at: dict[str, float] = {}
        self.prices = PriceTable()
        self.progress: dict[int, str] = {}

    def learn(self, facts: ProviderFacts) -> bool:
        """True when a provider became available."""
        more = frozenset(facts.available) - self.available
        self.known = True
        self.available = frozenset(facts.available)
        self.down, self.refused = dict(facts.down), dict(facts.refused)
        self.retry_at = dict(facts.retry_at)
        self.prices = facts.prices
        return bool(more)

    def why_refused(self, provider: str) -> str | None:
        """Why no waiting will bring a job to this provider; None when it may wait for it."""
        if provider in self.available or provider in self.down:
            return None
        return self.refused.get(provider, "it is not known here")

    def why_not_now(self, provider: str) -> str | None:
        """Why nothing is sent there at this moment."""
        if provider in self.available:
            return None
        return self.down.get(provider) or self.why_refused(provider)

    def estimate(self, spec: JobSpec) -> float:
        """What the job will probably cost in USD: what was said at its submit, else by the price table."""
        if spec.estimated_cost or spec.provider is None:
            return spec.estimated_cost
        hardware = spec.provider_options.get("hardware")
        chosen = hardware if isinstance(hardware, str) else None
        return self.prices.estimate(spec.provider, chosen, spec.num_processes, spec.time_limit)
