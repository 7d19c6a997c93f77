"""The tokens that `gpuyard login` keeps: one file in the user's configuration folder, 0600, a token for each server.

A token is kept under the address it was given for and sent nowhere else. Written without pathlib and platformdirs:
every client verb looks here, and they would take longer to load than the question to answer.
"""
# ruff: noqa: PTH103, PTH105, PTH111, PTH118

from __future__ import annotations

import json
import os
import sys
from typing import Final

FILE: Final = "credentials.json"


def folder() -> str:
    """The user's configuration folder of gpuyard, as platformdirs has it."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/gpuyard")
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "gpuyard")


def path() -> str:
    return os.path.join(folder(), FILE)


def token_for(url: str) -> str | None:
    """The token kept for the server at `url`, if there is one; a file that cannot be read holds none."""
    found = _read().get(url)
    return found if isinstance(found, str) and found else None


def keep(url: str, token: str | None) -> None:
    """Keep `token` for `url`, or forget what is kept for it. Raises OSError."""
    known = _read()
    known.pop(url, None)
    if token is not None:
        known[url] = token
    os.makedirs(folder(), mode=0o700, exist_ok=True)
    fresh = f"{path()}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)
        json.dump({"servers": known}, file, indent=2)
    os.replace(fresh, path())


def _read() -> dict[str, object]:
    try:
        with open(path(), encoding="ascii") as file:
            servers = json.load(file)["servers"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return servers if isinstance(servers, dict) else {}
