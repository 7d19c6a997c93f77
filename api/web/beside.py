"""What several regions show beside their own subject: people by name, jobs by title, how far a run is, GPUs by host."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.api.web import words
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import Asked

# Logs are looked into for so many runs of a table, and not waited for longer.
MOST_PROGRESS: Final = 12
PATIENCE: Final = 1.0
MOST_TITLES: Final = 200
HERE: Final = "This server"


class Host(NamedTuple):
    """A machine and its GPUs; `worker_id` None is the server's own."""

    name: str
    worker_id: str | None
    devices: list[dict[str, Any]]

    @property
    def id(self) -> str:
        """As attempts name it."""
        return self.worker_id or LOCAL_HOST

    @property
    def free(self) -> int:
        return sum(gpu["state"] == "free" for gpu in self.devices)


async def people(asked: Asked) -> dict[int, str]:
    """User id → name: everybody's for those who may see everybody's jobs, else one's own."""
    known = {asked.viewer.user_id: asked.viewer.username}
    if asked.viewer.is_lead:
        known |= {user["id"]: user["username"] for user in (await asked.lately("/api/users"))["users"]}
    return known


async def titles(asked: Asked, status: str = "running") -> dict[str, str]:
    """Job id → what people call it, for the active jobs of `status` that the viewer may see."""
    page = await asked.get("/api/queue", status=status, limit=MOST_TITLES)
    return {entry["job_id"]: words.title(entry) for entry in page["entries"]}


async def progress(asked: Asked, entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Job id → how far its log says it is, for those of `entries` that run and tell. Clouds are not asked."""
    running = [one["job_id"] for one in entries if one["phase"] == "running" and one["job_type"] != "cloud"]
    found = await asyncio.gather(*(_far(asked, job_id) for job_id in running[:MOST_PROGRESS]))
    return {said["job_id"]: said for said in found if said is not None}


async def _far(asked: Asked, job_id: str) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(PATIENCE):
            said: dict[str, Any] = await asked.lately(f"/api/jobs/{job_id}/progress")
    except (Refused, TimeoutError):
        return None  # its host is silent, or it has ended meanwhile
    return said if said["share"] is not None or said["loss"] is not None else None


def hosts(allocation: dict[str, Any]) -> list[Host]:
    """The server's own GPUs, then those of each worker."""
    found = [Host(HERE, None, allocation["devices"])] if allocation["devices"] else []
    workers: dict[str, Host] = {}
    for gpu in allocation["worker_devices"]:
        host = workers.setdefault(gpu["worker_id"], Host(gpu["worker"] or gpu["worker_id"], gpu["worker_id"], []))
        host.devices.append(gpu)
    return [*found, *sorted(workers.values(), key=lambda host: host.name)]
