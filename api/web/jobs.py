"""The table of jobs, and one job."""

from __future__ import annotations

from gpuyard.actors.model.job import TERMINAL
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import Asked, Context, region

PAGE = 50
MOST_EVENTS = 200
STATUSES = ("running", "pending", "blocked", "completed", "failed", "cancelled")


@region("jobs")
async def jobs(asked: Asked) -> Context:
    """Active jobs in dispatch order; with a status (or `all=1`) ended ones too."""
    chosen = [status for status in asked.params.get("status", "").split(",") if status in STATUSES]
    offset = int(asked.params.get("offset", "0") or 0) if asked.params.get("offset", "0").isdecimal() else 0
    page = await asked.get(
        "/api/queue",
        status=",".join(chosen) or None,
        include_completed=asked.params.get("all") == "1",
        limit=PAGE,
        offset=offset,
    )
    return {"page": page, "chosen": chosen, "statuses": STATUSES, "offset": offset, "size": PAGE}


@region("job")
async def job(asked: Asked) -> Context:
    found = (await asked.get(f"/api/jobs/{asked.params.get('id', '-')}"))["job"]
    position = None
    if found["status"] not in TERMINAL:
        try:
            position = await asked.get(f"/api/queue/position/{found['job_id']}")
        except Refused:
            pass  # it has ended between the two questions
    return {"job": found, "position": position}


@region("job_story")
async def job_story(asked: Asked) -> Context:
    """Attempts and events, the newest last; what the job was told to run."""
    job = (await asked.get(f"/api/jobs/{asked.params.get('id', '-')}"))["job"]
    return {"job": job, "events": job["events"][-MOST_EVENTS:]}
