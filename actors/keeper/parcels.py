"""What a run needs that is fetched first: files that are sent with it, and its secrets. Its order waits until all of
it is here; files are whole and checked then, secrets stand in the order's environment and nowhere else.

Who has them may be restarting: then they are asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from gpuyard.actors.base import Ref, Reply
from gpuyard.actors.keeper.timers import ParcelCame
from gpuyard.actors.model.commands import FetchBlob, FetchSecrets, RunSpec
from gpuyard.actors.model.errors import Busy, StoreFailed, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import BlobFetched, SecretValues

PAUSE = 1.0
# Stands where a file's name stands; no file has it.
SECRETS: Final = ""


@dataclass
class Parcel:
    """`order` is given once nothing is `missing` (a file's name, or SECRETS → how it is asked for)."""

    order: dict[str, Any]
    missing: dict[str, Callable[[], Reply]] = field(default_factory=dict)


class Parcels:
    """`blobs` has the files by their content, `secrets` the values of secrets; `tell` reaches the keeper from any
    thread, `later` after some seconds."""

    def __init__(
        self, blobs: Ref, secrets: Ref, tell: Callable[[Message], None], later: Callable[[float, Message], None]
    ) -> None:
        self._blobs = blobs
        self._secrets = secrets
        self._tell = tell
        self._later = later
        self._parcels: dict[int, Parcel] = {}

    def fetch(self, spec: RunSpec, order: dict[str, Any]) -> None:
        """ParcelCame comes for each of its files, and for its secrets."""
        parcel = self._parcels[spec.fence] = Parcel(order)
        for name, file in spec.sent.items():
            order["copies"][name] = {"path": "", "executable": file.executable}
            parcel.missing[name] = partial(self._blobs.ask, FetchBlob(blob=file.blob))
        if spec.secrets:
            wanted = FetchSecrets(fence=spec.fence, owner=spec.owner, names=spec.secrets)
            parcel.missing[SECRETS] = partial(self._secrets.ask, wanted)
        for name in parcel.missing:
            self._ask(spec.fence, parcel, name)

    def take(self, came: ParcelCame) -> dict[str, Any] | None:
        """The order, when this was the last that it waited for."""
        parcel = self._parcels.get(came.fence)
        if parcel is None or parcel.order is not came.order:
            return None  # ordered anew, or not wanted any more
        if came.again:
            self._ask(came.fence, parcel, came.name)
            return None
        match came.content:
            case SecretValues(env=env):
                parcel.order["env"].update(env)
            case BlobFetched(path=path):
                parcel.order["copies"][came.name]["path"] = path
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
        parcel.missing[name]().add_done_callback(partial(self._came, fence, parcel, name))

    def _came(self, fence: int, parcel: Parcel, name: str, reply: Reply) -> None:
        """In another thread."""
        error = reply.exception()
        self._tell(
            ParcelCame(
                fence=fence,
                order=parcel.order,
                name=name,
                content=reply.result() if error is None else None,
                error=str(error or ""),
                busy=isinstance(error, Busy | Unavailable) and not isinstance(error, StoreFailed),
            )
        )
