"""What a worker says of itself."""

from __future__ import annotations

import msgspec


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`heartbeat` in seconds until the server asks for another; `version` is the program's. `max_jobs` None: as many
    as its GPUs hold. `start_within`: a run of the policy `hold` may start only from a Sync that young (seconds).
    `name`, `labels` and `persistent` are of the command line, as in Heartbeat."""

    version: str = ""
    heartbeat: float = 10.0
    max_jobs: int | None = None
    cpu_count: int = 0
    start_within: float = 1_800.0
    name: str = ""
    labels: dict[str, str] = {}
    persistent: bool | None = None
