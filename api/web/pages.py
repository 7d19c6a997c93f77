"""The pages and their regions as routes. A page is a template that names its regions; nothing is decided here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gpuyard.api.deps import settings_of
from gpuyard.api.web import admin, approvals, cloud, gpus, jobs, overview, submit, usage, workers  # noqa: F401  (they register their regions)
from gpuyard.api.web.drawing import Drawing
from gpuyard.api.web.render import framed, page, render

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


async def _page(
    request: Request, template: str, title: str, names: Sequence[str] = (), status: int = 200, **more: str
) -> Response:
    drawing = Drawing(request, **more)
    drawn = await asyncio.gather(*(drawing.anew(name) for name in names))
    html = render(
        template,
        {
            "title": title,
            "regions": {name: framed(name, one, more.get("id")) for name, one in zip(names, drawn, strict=True)},
            "path": request.url.path,
            "query": request.url.query,
            "navigation": NAVIGATION,
            "version": settings_of(request).version,
            "csrf": request.scope["state"].get("csrf", ""),
            **drawing.common,
        },
    )
    return page(request, html, status)


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
