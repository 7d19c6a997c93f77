"""Regions: the parts of a page that stay live. Each has a template and says what it asks the API.

A page is drawn whole at first, its regions in place; then the browser asks for a region alone (`/ui/NAME`) whenever
something has changed that it shows. One template draws both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from gpuyard.actors.model.people import Viewer

Context = dict[str, Any]
Params = Mapping[str, str]


class Ask(Protocol):
    """GET an address of the API as the viewer; raises Refused."""

    async def __call__(self, path: str, **query: Any) -> Any: ...


class Asked(NamedTuple):
    """What a region's loader gets: how to ask, who looks, and the page's own query.

    `lately` asks too, but is content with an answer to the same person that is a few seconds old: for what is dear to
    find out and changes slowly.
    """

    get: Ask
    viewer: Viewer
    params: Params
    lately: Ask


Loader = Callable[[Asked], Awaitable[Context]]


class Region(NamedTuple):
    """`template` lies in templates/regions. `watch` are the kinds of events after which it is asked for again:
    "queue" (anything about jobs), "gpus", "workers", "people"; or "" for none."""

    template: str
    load: Loader
    watch: str = "queue"


REGIONS: dict[str, Region] = {}


def region(name: str, watch: str = "queue") -> Callable[[Loader], Loader]:
    """Register a loader; its template has the same name."""

    def add(load: Loader) -> Loader:
        REGIONS[name] = Region(f"regions/{name}.html", load, watch)
        return load

    return add
