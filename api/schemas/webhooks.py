"""The bodies of requests about webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from gpuyard.api.schemas.fields import Strict

Event = Literal["completed", "failed", "cancelled", "blocked", "approved"]


class NewWebhookBody(Strict):
    """Where to tell what of whose jobs. `scope` team is for leads and admins, all for admins."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://example.com/hooks/gpuyard", "events": ["failed"]}]}
    )

    url: Annotated[str, Field(min_length=1, max_length=2000, description="https, at a public address.")]
    events: Annotated[list[Event], Field(max_length=5, description="Without it the ends of jobs.")] = []
    scope: Literal["own", "team", "all"] = "own"


class WebhookBody(Strict):
    """An enabled one hears what happens from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    enabled: bool
