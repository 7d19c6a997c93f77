"""Hosts that start and end runs when told, at once and in memory, and a store that makes the Scheduler begin anew."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, CommitFailed, ProviderFacts, RunsAdopted
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.queue_store import QueueStore

PROVIDER = "replicate"
BEAT_SECONDS = 0.5


class EndRun(Message, frozen=True, kw_only=True):
    """The program of this job ends by itself. From: a test. Reply: True."""

    job_id: str
    exit_code: int


class Forget(Message, frozen=True, kw_only=True):
    """Void the generation, as a disk that failed does: the Scheduler reads everything again. From: a test."""


class Puppet(Actor):
    """Drives runs that are nothing but names: in the keeper's place, or in that of the cloud."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._runs: dict[int, str] = {}
        self._ends: dict[int, AttemptExited] = {}
        self._revision = 0

    def started(self) -> None:
        self.inbox.after(0.0, Tick())

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case c.WantRun(run=run):
                return self._want(run.fence, run.job_id)
            case c.WantStop(fence=fence, reason=reason):
                return self._end(fence, 143, "signal:SIGTERM", reason)
            case c.ForgetRun(fence=fence):
                self._ends.pop(fence, None)
                return None
            case EndRun(job_id=job_id, exit_code=code):
                fence = next(fence for fence, name in self._runs.items() if name == job_id)
                self._end(fence, code, "completed" if code == 0 else f"exit:{code}", "")
                return True
            case c.WantedComplete():
                self._scheduler.tell(RunsAdopted())
                return None
            case Tick():
                return self._beat()
            case c.PurgeRuns():
                return None
            case c.Ready():
                return True
            case _:
                return self.unsupported(message)

    @property
    def _scheduler(self) -> Any:
        return self.context.ref(names.SCHEDULER)

    def _beat(self) -> None:
        if self.name == names.CLOUD:
            self._revision += 1
            self._scheduler.tell(ProviderFacts(revision=self._revision, available=(PROVIDER,)))
            self.inbox.after(BEAT_SECONDS, Tick())

    def _want(self, fence: int, job_id: str) -> None:
        if fence in self._ends:
            self._scheduler.tell(self._ends[fence])
            return
        self._runs[fence] = job_id
        self._scheduler.tell(AttemptStarted(fence=fence, pid=4711, at=self.clock.now()))

    def _end(self, fence: int, code: int, exit_class: str, message: str) -> None:
        if self._runs.pop(fence, None) is not None:
            now = self.clock.now()
            self._ends[fence] = AttemptExited(
                fence=fence, exit_class=exit_class, exit_code=code, message=message, ended_at=now
            )
        if fence in self._ends:
            self._scheduler.tell(self._ends[fence])


class ForgetfulStore(QueueStore):
    """The real store, which can be told to void what is under way."""

    def handle(self, message: Message, reply: Reply | None) -> Any:
        if isinstance(message, Forget):
            self._void = True
            failed = CommitFailed(generation=self._generation, number=1 << 60, error="told to", disk=True)
            self.context.ref(names.SCHEDULER).tell(failed)
            return True
        return super().handle(message, reply)
