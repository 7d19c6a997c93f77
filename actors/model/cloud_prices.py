"""What cloud work costs: a table of provider × hardware, in USD for one hour of one GPU."""

from __future__ import annotations

from typing import Final

import msgspec

HOUR: Final = 3600.0


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    """`usd_per_hour` is provider → hardware → price of one GPU (or of a machine without); `default_hardware` is what a
    job gets that names none. `assumed_hours` stands in for the time limit of a job that has none."""

    usd_per_hour: dict[str, dict[str, float]] = {}
    default_hardware: dict[str, str] = {}
    assumed_hours: float = 1.0

    def price(self, provider: str, hardware: str | None) -> float | None:
        """USD for one hour of one GPU; None when the table does not say."""
        prices = self.usd_per_hour.get(provider, {})
        chosen = hardware or self.default_hardware.get(provider)
        if chosen is None and len(prices) == 1:
            return next(iter(prices.values()))
        return prices.get(chosen) if chosen is not None else None

    def estimate(self, provider: str, hardware: str | None, gpus: int, time_limit: float | None) -> float:
        """USD that a job may cost at most, by its time limit; 0.0 when the table has no price for it.

        >>> table = PriceTable(usd_per_hour={"slurm": {"a100": 2.0}})
        >>> table.estimate("slurm", "a100", 4, 1800.0)
        4.0
        """
        seconds = self.assumed_hours * HOUR if time_limit is None else time_limit
        return self.cost(provider, hardware, gpus, seconds) or 0.0

    def cost(self, provider: str, hardware: str | None, gpus: int, seconds: float) -> float | None:
        """USD for so many seconds; None when the table has no price for it."""
        price = self.price(provider, hardware)
        return None if price is None else round(price * max(1, gpus) * seconds / HOUR, 6)
