"""The Frontend's process as the server starts it.

Loads nothing of what the Frontend itself needs, and nothing of the actors: so it can be on its way, which takes a
second, before the server loads those.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from gpuyard import __version__
from gpuyard.api.handover import FrontendConfig
from gpuyard.api.process import FrontendProcess
from gpuyard.api.settings import Settings as ApiSettings
from gpuyard.cli.data_folder import SOCKETS
from gpuyard.cli.posture import Posture
from gpuyard.cli.settings import ServerSettings

MODULE: Final = "gpuyard.cli.frontend_process"


def frontend(listener: socket.socket, settings: ServerSettings, stance: Posture) -> FrontendProcess:
    """The Frontend of a server with these settings, not yet started."""
    config = FrontendConfig(
        sockets_dir=str(settings.data_dir / SOCKETS),
        settings=api_settings(settings, stance),
        log_level=settings.log_level,
    )
    return FrontendProcess(listener, MODULE, config)


def api_settings(settings: ServerSettings, stance: Posture) -> ApiSettings:
    """What the Frontend is told; no secret is in it."""
    return ApiSettings(
        data_dir=str(settings.data_dir),
        configs_dir=str(settings.configs),
        launch_command=settings.launch_command,
        started_at=time.time(),
        version=__version__,
        allowed_hosts=stance.names,
        network=stance.network,
        ssl_cert=str(settings.ssl_cert or ""),
        ssl_key=str(settings.ssl_key or ""),
        behind_tls_proxy=settings.behind_tls_proxy,
        trusted_proxies=settings.trusted_proxies,
        time_zone=settings.time_zone,
    )
