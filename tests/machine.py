"""What tests find and end on this machine: processes by the folder that they name, and free ports."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.support import eventually


def processes_of(folder: Path) -> list[int]:
    """Every living process whose command line or environment names this folder or something in it."""
    needle = os.fsencode(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if state_of(int(entry.name)) not in ("", "Z") and (needle + b"\0" in text or needle + b"/" in text):
            found.append(int(entry.name))
    return found


def state_of(pid: int) -> str:
    """What /proc says of a process: R, S, D, Z (ended, and not yet waited for), …; "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""


def end_all_of(folder: Path) -> None:
    """End them, by pid; returns when none is left."""

    def gone() -> bool:
        left = processes_of(folder)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    eventually(gone, timeout=30, message=f"processes of {folder} are left")


def free_port() -> int:
    """One on which nobody listens now; the kernel may give it to whoever asks for any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
