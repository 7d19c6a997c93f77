"""The pages and their regions as routes. A page is a template that names its regions; nothing is decided here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gpuyard.api.deps import scopes_of, settings_of, viewer_of
from gpuyard.api.web import admin, approvals, cloud, gpus, jobs, overview, submit, usage, workers  # noqa: F401  (they register their regions)
from gpuyard.api.web.inside import Inside, Refused
from gpuyard.api.web.regions import REGIONS, Asked
from gpuyard.api.web.render import framed, packed, page, render
from gpuyard.api.web.shared import Shared

router = APIRouter(include_in_schema=False)

# What the queue panel shows (templates/queue_panel.html).
PANEL = ("numbers", "approvals", "limits")
# Address → its name in the navigation.
NAVIGATION = (
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/gpus", "GPUs"),
    ("/workers", "Workers"),
    ("/cloud", "Cloud"),
    ("/approvals", "Approvals"),
    ("/usage", "Usage"),
    ("/submit", "Submit"),
    ("/admin", "Admin"),
)


def _asked(request: Request, **more: str) -> Asked:
    inside: Inside | None = getattr(request.app.state, "inside", None)
    if inside is None:
        inside = request.app.state.inside = Inside(request.app)

    async def get(path: str, **query: Any) -> Any:
        return await inside.get(request, path, **query)

    async def lately(path: str, **query: Any) -> Any:
        return await inside.lately(request, (viewer, scopes_of(request)), path, **query)

    viewer = viewer_of(request)
    return Asked(get, viewer, {**request.query_params, **more}, lately)


async def _drawn(asked: Asked, name: str) -> dict[str, Any]:
    """What a region's template needs. What the API refuses is said in its place."""
    region = REGIONS[name]
    try:
        context = await region.load(asked)
    except Refused as refusal:
        return {"name": name, "template": "regions/refused.html", "refusal": refusal, **_common(asked)}
    return {"name": name, "template": region.template, **context, **_common(asked)}


def _common(asked: Asked) -> dict[str, Any]:
    return {"viewer": asked.viewer, "params": asked.params, "at": time.time()}


async def _page(
    request: Request, template: str, title: str, names: Sequence[str] = (), status: int = 200, **more: str
) -> Response:
    asked = _asked(request, **more)
    drawn = {name: framed(await _drawn(asked, name), REGIONS[name].watch) for name in names}
    html = render(
        template,
        {
            "title": title,
            "regions": drawn,
            "path": request.url.path,
            "query": request.url.query,
            "navigation": NAVIGATION,
            "version": settings_of(request).version,
            "csrf": request.scope["state"].get("csrf", ""),
            **_common(asked),
        },
    )
    return page(request, html, status)


@router.get("/ui")
async def regions(
    request: Request,
    names: Annotated[str, Query(max_length=400)],
    have: Annotated[str, Query(max_length=1_000)] = "",
) -> Response:
    """The regions of a page that are not what the browser has: name → {html, tag}. `have` is NAME:TAG,…"""
    asked = _asked(request)
    viewer, shared = asked.viewer, _shared(request)
    params = tuple(sorted((key, value) for key, value in asked.params.items() if key not in ("names", "have")))
    known = dict(pair.split(":", 1) for pair in have.split(",") if ":" in pair)
    wanted = [name for name in dict.fromkeys(names.split(",")) if name in REGIONS]
    who = (viewer.user_id, viewer.level, viewer.team_id, scopes_of(request))
    drawn = await asyncio.gather(*(shared.get((who, name, params), partial(_alone, asked, name)) for name in wanted))
    fresh = {
        name: {"html": one.html, "tag": one.tag}
        for name, one in zip(wanted, drawn, strict=True)
        if known.get(name) != one.tag
    }
    return packed(request, msgspec.json.encode(fresh), "application/json", {"Cache-Control": "no-store"})


async def _alone(asked: Asked, name: str) -> str:
    drawn = await _drawn(asked, name)
    return render(drawn["template"], drawn)


def _shared(request: Request) -> Shared:
    shared: Shared | None = getattr(request.app.state, "shared", None)
    if shared is None:
        hub = request.app.state.hub
        shared = request.app.state.shared = Shared(lambda: hub.changes)
    return shared


@router.get("/")
async def show_overview(request: Request) -> Response:
    return await _page(
        request, "overview.html", "Overview", ("summary", *PANEL, "my_jobs", "gpus", "depth", "failures", "timeline")
    )


@router.get("/jobs")
async def show_jobs(request: Request) -> Response:
    return await _page(request, "jobs.html", "Jobs", ("jobs",))


@router.get("/jobs/{job_id}")
async def show_job(request: Request, job_id: str) -> Response:
    return await _page(request, "job.html", f"Job {job_id}", ("job", "job_gpus", "job_story"), id=job_id)


@router.get("/gpus")
async def show_gpus(request: Request) -> Response:
    return await _page(request, "gpus.html", "GPUs", ("gpu_table", "timeline"))


@router.get("/submit")
async def show_submit(request: Request) -> Response:
    return await _page(request, "submit.html", "Submit", ("configs",))


@router.get("/workers")
async def show_workers(request: Request) -> Response:
    return await _page(request, "workers.html", "Workers", ("workers",))


@router.get("/approvals")
async def show_approvals(request: Request) -> Response:
    return await _page(request, "approvals.html", "Approvals", ("approvals", "rules"))


@router.get("/admin")
async def show_admin(request: Request) -> Response:
    return await _page(request, "admin.html", "Administration", ("users", "limits", "tokens", "secrets", "audit"))


@router.get("/cloud")
async def show_cloud(request: Request) -> Response:
    return await _page(request, "cloud.html", "Cloud", (*PANEL, "providers", "cloud_cost", "cloud_jobs"))


@router.get("/usage")
async def show_usage(request: Request) -> Response:
    return await _page(request, "usage.html", "Usage", ("usage", "waits"))


@router.get("/login")
async def show_login(request: Request, next: Annotated[str, Query(max_length=500)] = "/") -> Response:
    """Public. `next` is where to go on, on this server only."""
    safe = next if next.startswith("/") and not next.startswith(("//", "/\\")) else "/"
    return page(request, render("login.html", {"next": safe}))
