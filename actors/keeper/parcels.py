"""Files that are sent with a run: its order waits until all of them are here, whole and checked.

Who has them may be restarting: then they are asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from gpuyard.actors.base import Ref, Reply
from gpuyard.actors.keeper.timers import ParcelCame
from gpuyard.actors.model.commands import FetchBlob, RunSpec
from gpuyard.actors.model.errors import Busy, StoreFailed, Unavailable
from gpuyard.actors.model.message import Message

PAUSE = 1.0


@dataclass
class Parcel:
    """`order` is given once `missing` (file → its blob) is empty."""

    order: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)


class Parcels:
    """`blobs` has the files by their content; `tell` reaches the keeper from any thread, `later` after some seconds."""

    def __init__(self, blobs: Ref, tell: Callable[[Message], None], later: Callable[[float, Message], None]) -> None:
        self._blobs = blobs
        self._tell = tell
        self._later = later
        self._parcels: dict[int, Parcel] = {}

    def fetch(self, spec: RunSpec, order: dict[str, Any]) -> None:
        """ParcelCame comes for each of its files."""
        parcel = self._parcels[spec.fence] = Parcel(order, {name: file.blob for name, file in spec.sent.items()})
        for name, file in spec.sent.items():
            order["copies"][name] = {"path": "", "executable": file.executable}
            self._ask(spec.fence, parcel, name)

    def take(self, came: ParcelCame) -> dict[str, Any] | None:
        """The order, when this was the last of its files."""
        parcel = self._parcels.get(came.fence)
        if parcel is None or parcel.order is not came.order:
            return None  # ordered anew, or not wanted any more
        if came.again:
            self._ask(came.fence, parcel, came.name)
            return None
        parcel.order["copies"][came.name]["path"] = came.path
        parcel.missing.pop(came.name, None)
        if parcel.missing:
            return None
        return self._parcels.pop(came.fence).order

    def drop(self, fence: int) -> None:
        self._parcels.pop(fence, None)

    def wait(self, came: ParcelCame) -> None:
        """Whoever has it does not answer now: ask again in a while."""
        self._later(PAUSE, msgspec.structs.replace(came, busy=False, again=True))

    def _ask(self, fence: int, parcel: Parcel, name: str) -> None:
        reply = self._blobs.ask(FetchBlob(blob=parcel.missing[name]))
        reply.add_done_callback(partial(self._came, fence, parcel, name))

    def _came(self, fence: int, parcel: Parcel, name: str, reply: Reply) -> None:
        """In another thread."""
        error = reply.exception()
        self._tell(
            ParcelCame(
                fence=fence,
                order=parcel.order,
                name=name,
                path=reply.result().path if error is None else "",
                error=str(error or ""),
                busy=isinstance(error, Busy | Unavailable) and not isinstance(error, StoreFailed),
            )
        )
