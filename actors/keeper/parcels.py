"""Files that are sent with a run: its order waits until all of them are here, whole and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gpuyard.actors.base import Ref, Reply
from gpuyard.actors.keeper.timers import ParcelCame
from gpuyard.actors.model.commands import FetchBlob, RunSpec
from gpuyard.actors.model.message import Message


@dataclass
class Parcel:
    """`order` is given once `missing` is empty."""

    order: dict[str, Any]
    missing: set[str] = field(default_factory=set)


class Parcels:
    """`blobs` has the files by their content; `tell` reaches the keeper from any thread."""

    def __init__(self, blobs: Ref, tell: Callable[[Message], None]) -> None:
        self._blobs = blobs
        self._tell = tell
        self._parcels: dict[int, Parcel] = {}

    def fetch(self, spec: RunSpec, order: dict[str, Any]) -> None:
        """ParcelCame comes for each of its files."""
        parcel = self._parcels[spec.fence] = Parcel(order, set(spec.sent))
        for name, file in spec.sent.items():
            order["copies"][name] = {"path": "", "executable": file.executable}
            self._blobs.ask(FetchBlob(blob=file.blob)).add_done_callback(partial(self._came, spec.fence, parcel, name))

    def take(self, came: ParcelCame) -> dict[str, Any] | None:
        """The order, when this was the last of its files."""
        parcel = self._parcels.get(came.fence)
        if parcel is None or parcel.order is not came.order:
            return None  # ordered anew, or not wanted any more
        parcel.order["copies"][came.name]["path"] = came.path
        parcel.missing.discard(came.name)
        if parcel.missing:
            return None
        return self._parcels.pop(came.fence).order

    def drop(self, fence: int) -> None:
        self._parcels.pop(fence, None)

    def _came(self, fence: int, parcel: Parcel, name: str, reply: Reply) -> None:
        """In another thread."""
        error = reply.exception()
        path = reply.result().path if error is None else ""
        self._tell(ParcelCame(fence=fence, order=parcel.order, name=name, path=path, error=str(error or "")))
