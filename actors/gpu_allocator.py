"""LocalGPUAllocator knows the GPUs of this host: it tells facts, and never decides who gets one (DESIGN 3 and 7).

A thin shell: a probe reads, `gpu_watch` judges, this actor keeps the time and carries the messages.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.gpu import asides
from gpuyard.actors.gpu.probe import GpuProbe, ProbeFailed
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import (
    GetGpuFacts,
    LookAtGpus,
    Ready,
    Record,
    SetGpuAside,
    WatchGpus,
    WatchRelease,
    WatchStart,
)
from gpuyard.actors.model.errors import StoreFailed, Unavailable
from gpuyard.actors.model.events import ForeignSeen, GpuEmptied, GpuFacts, GpusLooked
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.gpu_reading import Reading
from gpuyard.actors.model.gpu_watch import GpuWatch, Observation
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.registers import audit_line

log = logging.getLogger("gpuyard.gpus")


class Look(Message, frozen=True, kw_only=True):
    """Read the GPUs. From: the actor's own timer. Repeat: only the newest `number` counts."""

    number: int


class LocalGPUAllocator(Actor):
    """Tells the Scheduler GpuFacts, GpuEmptied and ForeignSeen. `probe` is closed with the actor."""

    def __init__(self, context: Context, probe: GpuProbe, settings: GpuSettings | None = None) -> None:
        super().__init__(context)
        self._probe = probe
        self._settings = settings or GpuSettings()
        self._scheduler = context.ref(names.SCHEDULER)
        self._watch = GpuWatch(self._settings, at_once=probe.at_once, asides=asides.load(self._settings.data_dir))
        self._kept = deepcopy(self._watch.asides)
        # Starts from the clock, so that it also grows over a restart of this actor.
        self._revision = int(self.clock.monotonic() * 1000)
        self._watched = False
        self._facts: tuple[GpuFact, ...] = ()
        self._unreachable: dict[int, str] = {}
        self._observed_at = -math.inf
        self._error: str | None = None
        self._asked_at = -math.inf
        self._pending = False
        self._tried = False
        self._look = 0
        # Runs that failed, and since when an answer is waited for.
        self._asking: dict[int, float] = {}

    def started(self) -> None:
        if self._probe.fd is not None:
            self.inbox.watch(self._probe.fd)
        self._read()

    def stopped(self) -> None:
        self._probe.close()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady():
                if self._collect():
                    self._schedule()
            case Look(number=number):
                if number == self._look:
                    self._read()
            case WatchGpus():
                self._watched = True
                self._tell_facts()
            case WatchStart(fence=fence, uuids=uuids):
                self._watch.start(fence, uuids, self.clock.monotonic())
                self._probe.note(self._watch.running)
            case WatchRelease():
                self._release(message)
            case LookAtGpus(fence=fence):
                self._look_at(fence)
            case SetGpuAside():
                return self._set_aside(message)
            case GetGpuFacts():
                return self._now()
            case Ready():
                return self._tried
            case _:
                return self.unsupported(message)
        return None

    # --- reading ---

    def _read(self) -> None:
        """Collect what is there, and ask for the next reading."""
        at_once = self._probe.fd is None
        if not at_once:
            self._collect()
        now = self.clock.monotonic()
        if self._probe.ask():
            self._asked_at = now
        self._pending = True
        if at_once:
            self._collect()
        self._schedule()

    def _collect(self) -> bool:
        """True when there was a reading."""
        try:
            reading = self._probe.take()
        except ProbeFailed as error:
            self._failed(error)
            return False
        if reading is not None:
            self._pending = False
            self._observe(reading)
        return reading is not None

    def _observe(self, reading: Reading) -> None:
        began = self._asked_at
        seen = self._watch.observe(reading, began)
        if self._error is not None:
            log.info("GPUs answer again")
        self._observed_at, self._error, self._tried = began, None, True
        self._unreachable = reading.unreachable
        self._keep_what_is_new()
        self._learn(seen.facts)
        # Facts first: a GPU that is emptied is handed out by them.
        self._tell_facts()
        self._tell_seen(seen)
        self._answer(fence for fence, since in self._asking.items() if began >= since)
        self._probe.note(self._watch.running)

    def _failed(self, error: ProbeFailed) -> None:
        """The facts stay as they were, and grow too old to hand anything out."""
        self._tried, self._pending = True, False
        if error.detail != self._error:
            log.warning("GPUs cannot be read: %s", error.detail)
            self._error = error.detail
            self._tell_facts()
        self._answer(self._asking)

    def _schedule(self) -> None:
        """The next look: regular, or sooner for a release."""
        self._look += 1
        in_vain = self._pending or self._error is not None
        soon = 0.0 if self._asking else self._watch.pause()
        pause = self._settings.poll if in_vain else min(self._settings.poll, soon)
        self.inbox.after(pause, Look(number=self._look))

    # --- what the Scheduler and the administrator say ---

    def _release(self, message: WatchRelease) -> None:
        """Look at once; where no look is needed, say so at once."""
        emptied = self._watch.release(message.fence, message.uuids, self.clock.monotonic())
        self._probe.note(self._watch.running)
        if emptied:
            self._scheduler.tell(GpuEmptied(fence=message.fence, uuids=emptied, cause=message.cause))
        else:
            self._read()

    def _look_at(self, fence: int) -> None:
        """Read at once, for a run that failed; where nothing can be read nobody waits for it."""
        self._asking.setdefault(fence, self.clock.monotonic())
        self._read()
        if self._error is not None:
            self._answer(self._asking)

    def _set_aside(self, message: SetGpuAside) -> bool:
        self._watch.set_aside(message.uuid, message.action)
        try:
            self._keep()
        except OSError as error:
            raise StoreFailed(f"that GPU {message.uuid} is set aside could not be kept: {error}") from error
        if message.host == LOCAL_HOST:  # else its server writes it down
            line = audit_line(
                message.by, self.clock.now(), f"gpu_{message.action}", f"GPU {message.uuid}", message.cause
            )
            self.context.ref(names.STORE).tell(Record(rows=(line,), cause=message.cause))
        self._learn(self._watch.facts(self._unreachable))
        self._tell_facts()
        return True

    # --- what outlives a restart ---

    def _keep(self) -> None:
        asides.save(self._settings.data_dir, self._watch.asides)
        self._kept = deepcopy(self._watch.asides)

    def _keep_what_is_new(self) -> None:
        """A fault that the driver tells only once."""
        if self._watch.asides == self._kept:
            return
        try:
            self._keep()
        except OSError as error:
            log.warning("the faults of GPUs cannot be kept, a restart would forget them: %s", str(error))
            self._kept = deepcopy(self._watch.asides)

    # --- telling ---

    def _learn(self, facts: tuple[GpuFact, ...]) -> None:
        before = {fact.uuid: fact.usable for fact in self._facts}
        for fact in facts:
            if before.get(fact.uuid, True) != fact.usable:
                log.warning("GPU %s (%s) %s", fact.index, fact.uuid, _in_words(fact))
        self._facts = facts

    def _tell_facts(self) -> None:
        if not (self._watched and self._tried):
            return
        self._revision += 1
        self._scheduler.tell(self._now())

    def _now(self) -> GpuFacts:
        """What is known. Raises Unavailable."""
        if not self._tried:
            raise Unavailable("the GPUs have not been read yet: try again shortly")
        return GpuFacts(
            revision=self._revision,
            observed_at=self._observed_at,
            backend=self._probe.backend,
            gpus=self._facts,
            at_once=self._probe.at_once,
            error=self._error,
        )

    def _answer(self, fences: Iterable[int]) -> None:
        for fence in tuple(fences):
            del self._asking[fence]
            self._scheduler.tell(GpusLooked(fence=fence))

    def _tell_seen(self, seen: Observation) -> None:
        for emptied in seen.emptied:
            self._scheduler.tell(GpuEmptied(fence=emptied.fence, uuids=emptied.uuids))
        for found in seen.foreign:
            self._scheduler.tell(ForeignSeen(fence=found.fence, uuid=found.uuid, processes=found.processes))


def _in_words(fact: GpuFact) -> str:
    if fact.usable:
        return "can be handed out again"
    users = ", ".join(f"pid {p.pid or 'unknown'} {p.name}".strip() for p in fact.foreign)
    why = fact.fault or ("it is excluded" if fact.excluded else f"used from outside the queue by {users}")
    return f"is not handed out: {why}"
