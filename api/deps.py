"""What a route may ask for: the core, who asks, the settings, the request's id.

@router.post("/api/queue/process", operation_id="process_queue")
async def process(core: CoreDep, viewer: ViewerDep) -> Response:
    done = await core.ask(names.SCHEDULER, ProcessQueue(by=viewer))
    return JsonResponse({"success": True, "dispatched": len(done.job_ids), "job_ids": done.job_ids})
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from gpuyard.actors.model import names
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Scope, Viewer
from gpuyard.api.core import Core, RequestCore
from gpuyard.api.errors import Unauthenticated, request_id_of
from gpuyard.api.hub import Hub
from gpuyard.api.known import KnownPeople
from gpuyard.api.metrics import Timings
from gpuyard.api.settings import Settings
from gpuyard.api.sse import Streams


def core_of(request: Request) -> Core:
    """The actors; each message asked through it carries this request's id as its cause."""
    return RequestCore(request.app.state.core, request_id_of(request))


def viewer_of(request: Request) -> Viewer:
    """Who asks, as the identity middleware found out."""
    viewer = request.scope.get("state", {}).get("viewer")
    if not isinstance(viewer, Viewer):
        raise Unauthenticated("a credential is needed here: send Authorization: Bearer TOKEN")
    return viewer


def scopes_of(request: Request) -> tuple[Scope, ...]:
    """What the token of this request may be used for."""
    scopes: tuple[Scope, ...] = request.scope["state"].get("scopes", ())
    return scopes


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _core(request: Request) -> Core:
    return core_of(request)


async def _viewer(request: Request) -> Viewer:
    return viewer_of(request)


async def _scopes(request: Request) -> tuple[Scope, ...]:
    return scopes_of(request)


async def _settings(request: Request) -> Settings:
    return settings_of(request)


async def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


async def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


async def _timings(request: Request) -> Timings:
    timings: Timings = request.app.state.timings
    return timings


async def _request_id(request: Request) -> str:
    return request_id_of(request)


class PeopleCore:
    """The way to People for one request that changes who may come in: the answer comes once the change is in force."""

    def __init__(self, core: Core, known: KnownPeople | None, hub: Hub) -> None:
        self._core = core
        self._known = known
        self._hub = hub

    async def change(self, message: Message, timeout: float = 10.0) -> Any:
        """The answer of People. Raises GpuyardError."""
        answer = await self._core.ask(names.PEOPLE, message, timeout)
        if self._known is not None:
            await self._known.catch_up()
        self._hub.settings_changed()
        return answer


async def _people(request: Request) -> PeopleCore:
    known = getattr(request.app.state, "known_people", None)
    return PeopleCore(core_of(request), known, request.app.state.hub)


# Dependencies are coroutine functions: FastAPI runs plain functions in a thread (DESIGN 12).
CoreDep = Annotated[Core, Depends(_core)]
PeopleDep = Annotated[PeopleCore, Depends(_people)]
ViewerDep = Annotated[Viewer, Depends(_viewer)]
ScopesDep = Annotated[tuple[Scope, ...], Depends(_scopes)]
SettingsDep = Annotated[Settings, Depends(_settings)]
HubDep = Annotated[Hub, Depends(_hub)]
StreamsDep = Annotated[Streams, Depends(_streams)]
MetricsDep = Annotated[Timings, Depends(_timings)]
RequestIdDep = Annotated[str, Depends(_request_id)]
