"""Regions as whoever sends a request may see them: drawn for them alone, or shared with all who may see the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import Request

from gpuyard.api.deps import scopes_of, viewer_of
from gpuyard.api.web.channels import Channels
from gpuyard.api.web.inside import Inside, Refused
from gpuyard.api.web.regions import REGIONS, Asked
from gpuyard.api.web.render import render
from gpuyard.api.web.shared import Drawn, Shared, tag_of

# Of the query: what the browser has, which is no part of what it asks for.
OF_THE_BROWSER = ("names", "have")


class _Kept(NamedTuple):
    """What the application keeps for its pages."""

    inside: Inside
    shared: Shared
    channels: Channels


def _kept(request: Request) -> _Kept:
    state = request.app.state
    kept: _Kept | None = getattr(state, "pages", None)
    if kept is None:
        changes = state.hub.changes
        kept = state.pages = _Kept(Inside(request.app), Shared(changes), Channels(changes))
    return kept


class Drawing:
    """`more` is what the address says beside its query, such as which job a page is about."""

    def __init__(self, request: Request, **more: str) -> None:
        kept, viewer, scopes = _kept(request), viewer_of(request), scopes_of(request)
        params = {name: value for name, value in request.query_params.items() if name not in OF_THE_BROWSER}

        async def get(path: str, **query: Any) -> Any:
            return await kept.inside.get(request, path, **query)

        async def lately(path: str, **query: Any) -> Any:
            return await kept.inside.lately(request, (viewer, scopes), path, **query)

        self.channels = kept.channels
        self._shared = kept.shared
        self._asked = Asked(get, viewer, params | more, lately)
        # Who has the same may see the same, and asks for the same.
        self._same = (viewer.user_id, viewer.level, viewer.team_id, scopes, tuple(sorted(self._asked.params.items())))

    @property
    def common(self) -> dict[str, Any]:
        """What every template may use."""
        return {"viewer": self._asked.viewer, "params": self._asked.params, "at": time.time()}

    def key(self, names: Sequence[str]) -> object:
        """Equal for those who may see the same of these regions."""
        return (self._same, tuple(names))

    async def shared(self, name: str) -> Drawn:
        """As it is now. Raises Refused while the core does not answer."""
        return await self._shared.get((self._same, name), REGIONS[name].watch, lambda: self._draw(name))

    async def anew(self, name: str) -> Drawn:
        """The same, never older than the request; also what can't be shown now is said in its place."""
        try:
            return await self._shared.anew((self._same, name), REGIONS[name].watch, lambda: self._draw(name))
        except Refused as refusal:
            html = self._refused(name, refusal)
            return Drawn(html, tag_of(html), 0, 0.0)

    async def _draw(self, name: str) -> str:
        """What the API refuses is said in the region's place. Raises Refused for what it can't answer now."""
        region = REGIONS[name]
        try:
            context = await region.load(self._asked)
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            return self._refused(name, refusal)
        return render(region.template, {"name": name, **context, **self.common})

    def _refused(self, name: str, refusal: Refused) -> str:
        return render("regions/refused.html", {"name": name, "refusal": refusal, **self.common})
