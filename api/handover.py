"""What the supervisor hands over to the Frontend's process, and hears from it. Light: both sides load it first."""

from __future__ import annotations

import os

import msgspec

from gpuyard.api.settings import Settings

ENVIRONMENT = "GPUYARD_FRONTEND"
READY = b"1"


class FrontendConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor hands over. The `…_fd` are inherited: the listening socket, the pipe that ends with the
    supervisor, and the pipe on which one byte says that requests are taken."""

    sockets_dir: str
    settings: Settings
    listener_fd: int = -1
    lifeline_fd: int = -1
    ready_fd: int = -1
    parent: int = 0
    log_level: str = "info"


def read_config() -> FrontendConfig:
    """The configuration from the environment, where it then no longer is; no secret is in it."""
    return msgspec.json.decode(os.environ.pop(ENVIRONMENT), type=FrontendConfig)
