"""Every route module, one line each. A new one needs its line here and its rows in `api/permissions.py`."""

from __future__ import annotations

from fastapi import APIRouter

from gpuyard.api.routes import (
    approvals,
    audit,
    charts,
    cloud,
    configs,
    events,
    gpus,
    health,
    jobs,
    limits,
    login,
    logs,
    queue,
    secrets,
    submit,
    system,
    teams,
    tokens,
    usage,
    users,
    webhooks,
    workers,
)
from gpuyard.api.web import assets, live, pages

ROUTERS: list[APIRouter] = [
    health.router,
    events.router,
    queue.router,
    limits.router,
    approvals.router,
    submit.router,
    jobs.router,
    logs.router,
    configs.router,
    system.router,
    gpus.router,
    charts.router,
    cloud.router,
    users.router,
    login.router,
    audit.router,
    teams.router,
    tokens.router,
    secrets.router,
    webhooks.router,
    usage.router,
    workers.router,
    assets.router,
    pages.router,
    live.router,
]
