"""What lies where in the server's data folder, and how it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuyard.cli.settings import ServerSettings

DATABASE = "jobs.db"
SOCKETS = "sockets"
FOLDERS = ("runs", "jobs", SOCKETS)


def prepare(settings: ServerSettings) -> None:
    """Make the data folder and its parts, for this user alone. Raises OSError."""
    for folder in (settings.data_dir, *(settings.data_dir / name for name in FOLDERS)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    settings.configs.mkdir(parents=True, exist_ok=True)
