"""Regions: the parts of a page that stay live. Each has a template and says what it asks the API.

A page is drawn whole at first, its regions in place; then the browser follows them (`/ui/stream`): each comes anew when
something has changed that it shows. One template draws both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from gpuyard.actors.model.people import Viewer
from gpuyard.api.changes import KINDS, TIME

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
    """`template` lies in templates/regions. `watch` are the kinds of changes after which it is drawn anew, as in
    `api/changes.py`; "time" stands for what no event tells of."""

    template: str
    load: Loader
    watch: frozenset[str]


REGIONS: dict[str, Region] = {}


def region(name: str, watch: str = "queue") -> Callable[[Loader], Loader]:
    """Register a loader; its template has the same name."""

    def add(load: Loader) -> Loader:
        kinds = frozenset(watch.split())
        assert kinds <= {*KINDS, TIME}, watch
        REGIONS[name] = Region(f"regions/{name}.html", load, kinds)
        return load

    return add
