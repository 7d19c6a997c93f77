"""What the LocalGPUAllocator is told."""

from __future__ import annotations

from typing import Literal

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class WatchGpus(Message, frozen=True, kw_only=True):
    """Tell GpuFacts on every change from now on, and once at once. From: Scheduler. To: LocalGPUAllocator.

    Repeat: harmless.
    """


class GetGpuFacts(Message, frozen=True, kw_only=True):
    """The GPUs as they were last read. From: another host's server, who asks for the present. To: LocalGPUAllocator.

    Reply: GpuFacts. Errors: Unavailable before the first reading. Repeat: harmless.
    """


class WatchRelease(Message, frozen=True, kw_only=True):
    """The run `fence` ended: say GpuEmptied as soon as these GPUs are empty; after 60 s quarantine them.

    Answered by GpuEmptied, maybe in parts. Sent for simulated GPUs too, whose load it ends.

    From: Scheduler. To: LocalGPUAllocator. Repeat: by fence, harmless (asked again after the answer, it is answered
    again).
    """

    fence: int
    uuids: tuple[str, ...]


class WatchStart(Message, frozen=True, kw_only=True):
    """The run `fence` starts on these GPUs: look again in 5 s for foreign processes. From: Scheduler.

    Sent for every live run after a rebuild too: the allocator learns whose the GPUs are, and shows their load.

    To: LocalGPUAllocator. Answered by ForeignSeen only when there is one. Repeat: by fence, harmless.
    """

    fence: int
    uuids: tuple[str, ...]


class LookAtGpus(Message, frozen=True, kw_only=True):
    """A run on real GPUs failed: read them now, since one of them may have broken. From: Scheduler.

    To: LocalGPUAllocator. Answered by GpusLooked, behind facts of a reading that began after this. Repeat: by fence,
    harmless.
    """

    fence: int


class SetGpuAside(Message, frozen=True, kw_only=True):
    """Exclude or clear a GPU by hand (also lifts a quarantine). From: Frontend. To: LocalGPUAllocator. Reply: True.

    One of the worker `host`: to WorkerRegistry, which asks the worker's LocalGPUAllocator; it is kept there. Errors:
    NotFound (no such worker), Unavailable (it is not connected), StoreFailed (it could not be kept). It stands in the
    audit. Repeat: harmless, but for a second line there.
    """

    uuid: str
    action: Literal["exclude", "include", "clear"]
    by: Viewer = OWNER
    host: str = LOCAL_HOST
