"""The table of jobs, and one job."""

from __future__ import annotations

from urllib.parse import urlencode

from gpuyard.actors.model.job import TERMINAL
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import Asked, Context, region

PAGE = 50
MOST_EVENTS = 200
FILTERS = ("status", "all", "q")
STATUSES = ("running", "pending", "blocked", "completed", "failed", "cancelled")


@region("jobs")
async def jobs(asked: Asked) -> Context:
    """Active jobs in dispatch order; with a status (or `all=1`) ended ones too. With `q` what that finds."""
    params = asked.params
    chosen = [status for status in params.get("status", "").split(",") if status in STATUSES]
    offset = int(params["offset"]) if params.get("offset", "").isdecimal() else 0
    search = params.get("q", "").strip()
    if search:
        status = ",".join(chosen) or None
        found = await asked.get("/api/jobs", search=search, status=status, limit=PAGE, offset=offset)
        entries, total = found["jobs"], found["total"]
    else:
        ended = params.get("all") == "1"
        page = await asked.get(
            "/api/queue", status=",".join(chosen) or None, include_completed=ended, limit=PAGE, offset=offset
        )
        entries, total = page["entries"], page["total"]
    return {
        "entries": entries,
        "total": total,
        "chosen": chosen,
        "statuses": STATUSES,
        "search": search,
        "offset": offset,
        "size": PAGE,
        "link": Links({name: params[name] for name in FILTERS if params.get(name)}),
    }


class Links:
    """Addresses of the same table with another filter: a None takes a filter out; the place starts anew."""

    def __init__(self, filters: dict[str, str]) -> None:
        self._filters = filters

    def __call__(self, **changes: str | int | None) -> str:
        kept = {**self._filters, **changes}
        query = urlencode({name: value for name, value in kept.items() if value})
        return f"/jobs?{query}" if query else "/jobs"


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
