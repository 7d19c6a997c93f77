"""The Frontend's process: `python -m gpuyard.cli.frontend_process`, started by the server (`frontend_wiring.py`).

It knows the API and the link, and nothing of the other actors: its imports are what it costs to start it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gpuyard.api.handover import read_config
from gpuyard.api.serve import serve
from gpuyard.cli import logs
from gpuyard.transport.client import LinkClient


def main() -> int:
    """What the process runs; the exit code."""
    config = read_config()
    logs.join(Path(config.settings.data_dir), config.log_level)
    return serve(config, LinkClient)


if __name__ == "__main__":
    sys.exit(main())
