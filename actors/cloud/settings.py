"""What the CloudDispatcher needs to know; wiring fills it in."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gpuyard.actors.cloud.provider import NotConfigured
from gpuyard.actors.model.cloud_prices import PriceTable

Table = TypeVar("Table", bound=msgspec.Struct)


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


def understood(kind: type[Table], provider: str, given: Mapping[str, Any]) -> Table:
    """The table `[providers.NAME]` of the settings as a `kind`. Raises NotConfigured, naming what is wrong."""
    fields = kind.__struct_fields__
    for key in given:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"do you mean {near[0]}?" if near else f"it takes {', '.join(fields)}"
            raise NotConfigured(f"[providers.{provider}] has no setting {key}: {hint}")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise NotConfigured(f"[providers.{provider}]: {error}") from error
