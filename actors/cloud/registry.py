"""Which providers there are: ours, one line each, and those that other packages bring by entry point."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from gpuyard.actors.cloud.provider import GROUP, NotConfigured, Provider
from gpuyard.actors.cloud.settings import CloudSettings

log = logging.getLogger("gpuyard.cloud")

SIMULATED: Final = "simulated"
OURS: Final[dict[str, str]] = {
    "replicate": "gpuyard.actors.cloud.replicate:Replicate",
    "slurm": "gpuyard.actors.cloud.slurm:Slurm",
    "ray": "gpuyard.actors.cloud.ray:Ray",
    SIMULATED: "gpuyard.actors.cloud.simulated:Simulated",
}


def known(settings: CloudSettings) -> list[str]:
    """The names of all providers, configured or not, ours first."""
    others = {point.name for point in entry_points(group=GROUP)} | set(settings.providers)
    return [*OURS, *sorted(others - set(OURS))]


def open_one(name: str, settings: CloudSettings) -> Provider:
    """The provider `name`, ready to be called. Raises NotConfigured."""
    table: Mapping[str, Any] = settings.providers.get(name, {})
    if name == SIMULATED and not (settings.simulate or table):
        raise NotConfigured("it is for trying things out: start the server with --simulate-gpus")
    try:
        made = _load(name)({"public_url": settings.public_url, **table}, settings.data_dir)
    except NotConfigured:
        raise
    except Exception as error:
        log.exception("the provider %s could not be made", name)
        raise NotConfigured(f"it could not be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Provider):
        raise NotConfigured(f"{type(made).__name__} lacks methods of gpuyard.actors.cloud.provider.Provider")
    return made


def _load(name: str) -> Any:
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.load()
    raise NotConfigured(f"no installed package brings it (entry point group {GROUP})")
