"""The application: routes, permissions, errors and the guard, put together around a `Core`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts

from gpuyard import __version__
from gpuyard.api import errors
from gpuyard.api.changes import KINDS
from gpuyard.api.core import Core
from gpuyard.api.deps import scopes_of, viewer_of
from gpuyard.api.guard import Guard
from gpuyard.api.hub import Hub
from gpuyard.api.identity import Authenticator, OwnerOnLoopback
from gpuyard.api.logins import LogIns
from gpuyard.api.metrics import Timings
from gpuyard.api.openapi import describe
from gpuyard.api.permissions import RULES, Rule, check
from gpuyard.api.routes import ROUTERS
from gpuyard.api.samples import Samples
from gpuyard.api.settings import Settings
from gpuyard.api.sse import Streams


def create_app(
    core: Core,
    settings: Settings,
    authenticator: Authenticator | None = None,
    routers: Iterable[APIRouter] = ROUTERS,
) -> FastAPI:
    """The whole API. `authenticator` None is single-user mode. Raises LookupError for a route without a rule.

    `app.state.streams.close()` ends the open event streams, for a shutdown.
    """
    app = FastAPI(
        title="gpuyard",
        version=__version__,
        summary="Share GPUs between people and their training jobs.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.core = core
    app.state.settings = settings
    app.state.hub = Hub()
    app.state.streams = Streams(settings.max_streams, settings.keepalive_seconds, settings.max_streams_of_one)
    app.state.timings = Timings()
    app.state.samples = Samples()
    app.state.logins = LogIns()
    core.watch(app.state.hub)
    core.watch(app.state.timings)
    for router in routers:
        app.include_router(router, dependencies=[Depends(enforce)], responses=errors.documented())
    require_rules(app)
    errors.install(app)
    describe(app)
    app.add_middleware(
        Guard,
        settings=settings,
        authenticator=authenticator or OwnerOnLoopback(settings.peer_uid),
        changed=lambda: app.state.hub.changes.note(KINDS),
    )
    return app


async def enforce(request: Request) -> None:
    """The rule of this route, before it runs. Raises Unauthenticated or NotAllowed."""
    rule = RULES[request.method, request.scope["route"].path]
    if rule is not Rule.PUBLIC:
        check(rule, viewer_of(request), request.method, scopes_of(request))


def require_rules(app: FastAPI) -> None:
    """Every route must stand in the permission table, under the very address that `enforce` will look up."""
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        if not isinstance(route, APIRoute) and route.path != app.openapi_url:
            raise LookupError(f"{route.path} is not an API route: it can't be guarded")
        if context.path != route.path:
            raise LookupError(f"{context.path}: give the prefix to the router, not to include_router")
        for method in (route.methods or set()) - {"HEAD"}:
            if (method, route.path) not in RULES:
                raise LookupError(f"{method} {route.path} has no row in api/permissions.py")
