"""The settings of cloud providers: tables of their own, in which no secret stands."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gpuyard.actors.model.cloud_prices import PriceTable

Providers = dict[str, dict[str, Any]]

SECRETS: Final = {"token", "api_token", "key", "password", "secret", "webhook_secret"}


def checked(providers: Providers) -> Providers:
    """The tables, if they can be used. Raises ValueError."""
    for name, table in providers.items():
        for key in sorted(set(table) & SECRETS):
            raise ValueError(f"{name}.{key} is a secret: write it into a file and name that as {key}_file")
        price_table({name: table}, 1.0)
    return providers


def allowed_hosts(given: tuple[str, ...], public_url: str) -> tuple[str, ...]:
    """Names that a request may be sent to: webhooks come to that of the public address."""
    host = urlsplit(public_url).hostname
    return given if host is None or host in given else (*given, host)


def price_table(providers: Providers, assumed_hours: float) -> PriceTable:
    """The `prices` (USD an hour, by hardware) and the default `hardware` of the tables. Raises ValueError."""
    try:
        return msgspec.convert(
            {
                "usd_per_hour": {name: table["prices"] for name, table in providers.items() if "prices" in table},
                "default_hardware": {n: table["hardware"] for n, table in providers.items() if "hardware" in table},
                "assumed_hours": assumed_hours,
            },
            PriceTable,
        )
    except msgspec.ValidationError as error:
        raise ValueError(f"prices and hardware of {', '.join(providers)}: {error}") from None
