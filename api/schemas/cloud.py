"""The bodies of requests about cloud providers."""

from __future__ import annotations

from pydantic import ConfigDict

from gpuyard.api.schemas.fields import Strict


class ProviderBody(Strict):
    """`enabled` false: it is sent no more jobs; those that run there go on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    enabled: bool
