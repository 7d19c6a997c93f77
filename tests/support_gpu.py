"""What the GPU tests share: a LocalGPUAllocator at work, and a Scheduler that only listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gpuyard.actors import base
from gpuyard.actors.base import Actor, Context, Directory, Reply, SystemClock
from gpuyard.actors.gpu.probe import GpuProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu_allocator import LocalGPUAllocator
from gpuyard.actors.model import names
from gpuyard.actors.model.clock import Clock
from gpuyard.actors.model.commands import Ready, SetGpuAside, WatchGpus, WatchRelease, WatchStart
from gpuyard.actors.model.events import ForeignSeen, GpuEmptied, GpuFacts
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message, Ping, Shutdown
from tests.support import eventually

M = TypeVar("M", bound=Message)


class Listener(Actor):
    """Keeps every message it is told."""

    def __init__(self, context: Context, heard: list[Message]) -> None:
        super().__init__(context)
        self._heard = heard

    def handle(self, message: Message, reply: Reply | None) -> Any:
        self._heard.append(message)


class Allocator:
    """A running LocalGPUAllocator; `with` stops it. `heard` is what the Scheduler was told, in order."""

    def __init__(self, probe: GpuProbe, settings: GpuSettings | None = None, clock: Clock | None = None) -> None:
        self.heard: list[Message] = []
        self.crashes: list[BaseException] = []
        self.clock = clock or SystemClock()
        self.directory = Directory()
        self._before = set(threading.enumerate())
        self._start(names.SCHEDULER, Listener, self.heard)
        self._start(names.GPUS, LocalGPUAllocator, probe, settings)
        self.tell(WatchGpus())

    def _start(self, name: str, actor: type[Actor], *args: Any) -> None:
        context = Context(name, self.clock, self.directory, lambda _name, error: self.crashes.append(error))
        base.start(actor, context, *args)

    def __enter__(self) -> Allocator:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in (names.GPUS, names.SCHEDULER):
            assert self.ask(Shutdown(), name) is True
        eventually(lambda: set(threading.enumerate()) <= self._before, message="an actor's thread is left")
        assert not self.crashes, self.crashes

    # --- what the Scheduler says ---

    def tell(self, message: Message) -> None:
        self.directory.ref(names.GPUS).tell(message)

    def ask(self, message: Message, name: str = names.GPUS) -> Any:
        return self.directory.ref(name).ask(message).result(10)

    def start(self, fence: int, *uuids: str) -> None:
        self.tell(WatchStart(fence=fence, uuids=uuids))
        assert self.answers(), "it has been taken in"

    def release(self, fence: int, *uuids: str) -> None:
        self.tell(WatchRelease(fence=fence, uuids=uuids))
        assert self.answers(), "it has been taken in"

    def set_aside(self, uuid: str, action: Any) -> Any:
        return self.ask(SetGpuAside(uuid=uuid, action=action))

    def is_ready(self) -> bool:
        return bool(self.ask(Ready()))

    def answers(self) -> bool:
        return bool(self.ask(Ping()))

    # --- what it told ---

    def all_of(self, kind: type[M]) -> list[M]:
        """All that was told so far: the answer to a ping stands behind it in the Scheduler's inbox."""
        assert self.ask(Ping(), names.SCHEDULER) is True
        return [message for message in list(self.heard) if isinstance(message, kind)]

    def emptied(self) -> set[tuple[int, str]]:
        """(fence, UUID) of every GpuEmptied so far."""
        return {(event.fence, uuid) for event in self.all_of(GpuEmptied) for uuid in event.uuids}

    def foreign_seen(self) -> list[ForeignSeen]:
        return self.all_of(ForeignSeen)

    def last(self) -> GpuFacts:
        """The newest facts; waits for the first."""
        return eventually(lambda: self.all_of(GpuFacts))[-1]

    def until(self, true_of: Callable[[GpuFacts], object]) -> GpuFacts:
        """The newest facts, as soon as this is true of them."""
        found = eventually(lambda: (facts := self.last()) and true_of(facts) and facts, 30)
        assert isinstance(found, GpuFacts)
        return found

    def until_gpu(self, uuid: str, true_of: Callable[[GpuFact], object]) -> GpuFact:
        """The newest fact of this GPU, as soon as this is true of it."""
        return by_uuid(self.until(lambda facts: uuid in by_uuid(facts) and true_of(by_uuid(facts)[uuid])))[uuid]

    def fresh(self, readings: int = 2) -> GpuFacts:
        """The facts after so many more readings: long enough for anything that would happen to have happened."""
        seen = self.last().revision
        return self.until(lambda facts: facts.revision >= seen + readings and facts.error is None)


def by_uuid(facts: GpuFacts) -> Mapping[str, GpuFact]:
    return {fact.uuid: fact for fact in facts.gpus}
