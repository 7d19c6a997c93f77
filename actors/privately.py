"""Files that are for this user alone: 0600 in folders of 0700, whole or not there, on the disk when a write returns."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gpuyard.actors.durable import sync_folder


def folder(path: Path) -> None:
    """Make it, and what is missing above it; whoever made it, others are shut out. Raises OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write(path: Path, data: bytes) -> None:
    """Put `data` in the place of whatever is there. Raises OSError; then what was there is there still."""
    aside = path.with_name(f".{path.name}.new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def remove(path: Path) -> bool:
    """Was it there? It is not any more, also after a power loss. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True
