"""Runs on workers that are no more: nobody can be asked, so time alone ends them.

A run with a lease is over once that has been waited out: its host stops it by itself, since nobody renews it. One of
the policy `hold` is given up at once: whoever deleted the worker has decided that. GPUs of a deleted worker are free
when their run is over, since they can't be handed out any more.
"""

from __future__ import annotations

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ForgetRun, WantRun, WantStop
from gpuyard.actors.model.events import AttemptExited, GpuEmptied
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Worker

AGAIN = 10.0
WHY = "its worker was deleted"


class _Left:
    """One fence: when (monotonic) it is over, whether its end is durable, and when to say it again."""

    def __init__(self, host: str, over_at: float) -> None:
        self.host = host
        self.over_at = over_at
        self.over = False
        self.again_at = over_at


class Departed:
    """All runs of workers that are no more, by fence."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._left: dict[int, _Left] = {}

    def owner(self, fence: int) -> str:
        left = self._left.get(fence)
        return left.host if left is not None else ""

    def take(self, worker: Worker) -> None:
        """A worker is deleted: what it still has stays to be ended."""
        for fence, want in worker.wants.items():
            if want.over and want.released:
                continue
            lease = want.order.lease_seconds if want.order is not None and want.live else None
            left = _Left(worker.id, want.base if lease is None else want.base + self._settings.waited_out(lease))
            left.over = want.over
            self._left[fence] = left

    def want_run(self, want: WantRun, now: float) -> None:
        """Wanted again after a restart of ours: its lease counts anew."""
        lease = want.lease_seconds
        if want.run.fence not in self._left:
            over_at = now if lease is None else now + self._settings.waited_out(lease)
            self._left[want.run.fence] = _Left(want.host, over_at)

    def want_stop(self, stop: WantStop, now: float) -> None:
        """Of a run that is wanted its time decides; of any other only the GPUs are to be released."""
        self._left.setdefault(stop.fence, _Left(stop.host, now))

    def forget_run(self, forget: ForgetRun, out: FleetOutbox) -> None:
        left = self._left.get(forget.fence)
        if left is None:
            return
        left.over = True
        if forget.released:
            del self._left[forget.fence]
        else:
            out.tell(names.SCHEDULER, GpuEmptied(fence=forget.fence, uuids=(), host=left.host))

    def tick(self, now: float, out: FleetOutbox) -> None:
        for fence, left in self._left.items():
            if now < left.again_at:
                continue
            left.again_at = now + AGAIN
            if not left.over:
                out.tell(names.SCHEDULER, AttemptExited(fence=fence, exit_class="lost", message=WHY, host=left.host))
            out.tell(names.SCHEDULER, GpuEmptied(fence=fence, uuids=(), host=left.host))
