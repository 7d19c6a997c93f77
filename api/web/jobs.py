"""The table of jobs, and one job."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from gpuyard.actors.model.clock import epoch
from gpuyard.actors.model.job import TERMINAL
from gpuyard.api.samples import KEPT_HOURS
from gpuyard.api.web import beside, charts, job_charts
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import Asked, Context, region

PAGE = 50
MOST_EVENTS = 200
FILTERS = ("status", "all", "q")
STATUSES = ("running", "pending", "blocked", "completed", "failed", "cancelled")


@region("jobs", watch="queue time")
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
        "people": await beside.people(asked),
        "progress": await beside.progress(asked, entries),
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


@region("job", watch="queue time")
async def job(asked: Asked) -> Context:
    found = await _job(asked)
    position = None
    if found["status"] not in TERMINAL:
        try:
            position = await asked.get(f"/api/queue/position/{found['job_id']}")
        except Refused:
            pass  # it has ended between the two questions
    said = await beside.progress(asked, [found])
    return {
        "job": found,
        "position": position,
        "people": await beside.people(asked),
        "said": said.get(found["job_id"]),
        "life": job_charts.life(found, time.time()),
    }


@region("job_gpus", watch="queue gpus time")
async def job_gpus(asked: Asked) -> Context:
    """Load and memory of its GPUs over the last attempt that had some."""
    found = await _job(asked)
    attempts = [one for one in found["attempts"] if one["gpu_uuids"] and one["started_at"]]
    nothing: Context = {"series": [], "marks": []}
    if not attempts:
        return {**nothing, **_why_no_gpus(found)}
    last, now = attempts[-1], time.time()
    since = max(epoch(last["started_at"]), now - KEPT_HOURS * 3600)
    until = min(now, epoch(last["ended_at"])) if last["ended_at"] else now
    if until <= since:
        return {**nothing, "words": "The figures of this run are gone.", "hint": GONE}
    hours = (now - since) / 3600 + 0.01
    history = (await asked.get("/api/gpus/history", hours=hours, gpu=last["gpu_uuids"]))["gpus"]
    history = [one for one in history if one["host"] == last["host"]]
    names = dict(zip(last["gpu_uuids"], last["gpus"], strict=True))
    series = job_charts.use(history, names, since, until, await _memory(asked, last["host"], set(names)))
    if series:
        return {"series": series, "marks": charts.marks(since, until)}
    if last["ended_at"]:
        return {**nothing, "words": "There are no figures of this run.", "hint": f"It was too short, or {GONE}"}
    return {**nothing, "words": "The chart begins now.", "hint": "It is drawn from two looks on, ten seconds apart."}


GONE = "they are kept for six hours in the memory of the page's server, and begin anew with it."


def _why_no_gpus(job: dict[str, Any]) -> Context:
    if job["num_processes"] == 0:
        return {"words": "It runs on the CPU: there is no GPU to show.", "hint": ""}
    if job["job_type"] == "cloud":
        return {
            "words": "Providers do not tell how their GPUs are used.",
            "hint": "What the job itself says is in its log.",
        }
    if job["is_terminal"]:
        return {"words": "It has not had a GPU.", "hint": ""}
    return {"words": "It has no GPU yet.", "hint": "The chart begins with the run."}


async def _memory(asked: Asked, place: str, uuids: set[str]) -> float:
    """The size of the largest of these cards in GB; 0 when none is there any more."""
    status = await asked.lately("/api/system/status", include_allocation=True)
    mine = [host for host in beside.hosts(status["gpu_allocation"]) if host.id == place]
    return max((gpu["memory_gb"] for host in mine for gpu in host.devices if gpu["uuid"] in uuids), default=0.0)


@region("job_story")
async def job_story(asked: Asked) -> Context:
    """Attempts and events, the newest last; what the job was told to run."""
    job = await _job(asked)
    return {"job": job, "events": job["events"][-MOST_EVENTS:]}


async def _job(asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = (await asked.get(f"/api/jobs/{asked.params.get('id', '-')}"))["job"]
    return found
