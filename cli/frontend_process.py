"""The Frontend's process put together: `python -m gpuyard.cli.frontend_process`, started by the supervisor.

It knows the API and the link, and nothing of the other actors: its imports are what it costs to start it.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gpuyard.api.process import FrontendProcess, bind
from gpuyard.api.serve import FrontendConfig, read_config, serve
from gpuyard.transport.client import LinkClient

if TYPE_CHECKING:
    from gpuyard.cli.posture import Posture
    from gpuyard.cli.settings import ServerSettings

MODULE = "gpuyard.cli.frontend_process"


def listening_socket(host: str, port: int) -> socket.socket:
    """The port of the server. Raises OSError, whose text names the cure."""
    return bind(host, port)


def frontend(listener: socket.socket, settings: ServerSettings, stance: Posture) -> FrontendProcess:
    """The Frontend of a server with these settings, not yet started."""
    from gpuyard.cli import wiring

    config = FrontendConfig(
        sockets_dir=str(settings.data_dir / wiring.SOCKETS),
        settings=wiring.api_settings(settings, stance),
        log_level=settings.log_level,
    )
    return FrontendProcess(listener, MODULE, config)


def main() -> int:
    """What the process runs; the exit code."""
    from gpuyard.cli import logs

    config = read_config()
    logs.join(Path(config.settings.data_dir), config.log_level)
    return serve(config, LinkClient)


if __name__ == "__main__":
    sys.exit(main())
