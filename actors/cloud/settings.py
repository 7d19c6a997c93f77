"""What the CloudDispatcher needs to know; wiring fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpuyard.actors.model.cloud_prices import PriceTable


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """`providers` is provider → its settings table, no secret in it. `simulate` adds the simulated provider.

    `public_url` is where providers reach this server's webhooks; without it they are not asked for any.
    """

    data_dir: Path
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: PriceTable = field(default_factory=PriceTable)
    simulate: bool = False
    log_cap_mb: int = 1024
    public_url: str = ""

    @property
    def runs(self) -> Path:
        return self.data_dir / "runs"
