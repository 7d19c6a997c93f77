"""What a ProcessKeeper needs to know; wiring fills it in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """`data_dir` becomes absolute. Seconds may be decimal. `python` runs the keeper program."""

    data_dir: Path
    stop_grace_seconds: float = 30.0
    # The same where a lease has lapsed, unless the server says: the run must be gone before another host has its job.
    lapse_grace_seconds: float = 15.0
    log_cap_mb: int = 1024
    # Logs and records of acknowledged runs are removed after so many days; None: when somebody says so.
    keep_days: float | None = None
    python: str = sys.executable
    tick_seconds: float = 5.0
    # Use control groups where the system has writable ones (see program/cgroup.py).
    control_groups: bool = True
    # MASTER_PORT: below the range that the kernel gives to outgoing connections.
    first_port: int = 20_000
    last_port: int = 29_499

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_dir", Path(self.data_dir).absolute())

    @property
    def runs(self) -> Path:
        return self.data_dir / "runs"

    @property
    def jobs(self) -> Path:
        return self.data_dir / "jobs"

    @property
    def sockets(self) -> Path:
        return self.data_dir / "sockets"
