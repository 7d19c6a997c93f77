"""Secrets of providers: from a file of this user's alone, or from the environment; never from the settings."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gpuyard.actors.cloud.provider import NotConfigured


def secret(file: str, variable: str, what: str) -> str:
    """The secret in `file`, else in the variable; "" without either. Raises NotConfigured."""
    if not file:
        return os.environ.get(variable, "").strip()
    path = Path(file).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise NotConfigured(f"{path} with {what} can be read by others: chmod 600 {path}")
        text = path.read_text().strip()
    except OSError as error:
        raise NotConfigured(f"{what} cannot be read from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NotConfigured(f"{path} holds no {what}: it is not text") from error
    if not text or any(char.isspace() for char in text):
        raise NotConfigured(f"{path} must hold {what} and nothing else")
    return text
