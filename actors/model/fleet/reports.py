"""What a worker's reports mean, and to whom they may speak.

A report counts only for a fence that this worker was given, and only from the life of the host that has it. Everything
else is counted and ignored, or is a stray: an orphan that lives on (a restored, emptied or other database does not know
it), or an end that was heard before and is repeated because nobody acknowledged it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, GpuEmptied, OrphanSeen
from gpuyard.actors.model.fleet.clocks import ClockWatch
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.states import WorkerState
from gpuyard.actors.model.fleet.worker import Stray, Wanted, Worker, has_ended
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.model.wire import Heartbeat, Report


class Reports:
    """`owner` names the worker that has a fence ("" when none has), `db_id` and `db_epoch` are ours."""

    def __init__(self, db_id: str, db_epoch: int, owner: Callable[[int], str], counters: Counter[str]) -> None:
        self._db_id, self._db_epoch = db_id, db_epoch
        self._owner = owner
        self._counters = counters

    def hear(self, worker: Worker, beat: Heartbeat, complete: bool, out: FleetOutbox) -> None:
        """Take in all reports of a heartbeat of the admitted session."""
        foreign = self.is_foreign(beat)
        clock = worker.session.clock if worker.session is not None else ClockWatch()
        for fence, told in beat.attempts.items():
            report = clock.right(told)
            want = None if foreign else worker.wants.get(fence)
            if want is not None:
                self.of_a_want(worker, want, report, beat, out)
            elif foreign or self._may_be_stray(worker, fence):
                stray = worker.strays.setdefault(fence, Stray(report=report))
                stray.report = report
                self._of_a_stray(worker, fence, stray, foreign, complete, out)
        for known in (worker.strays, worker.acks, worker.ending):
            for fence in [fence for fence in known if fence not in beat.attempts]:
                _drop(known, fence)

    def is_foreign(self, beat: Heartbeat) -> bool:
        """Does it obey another database? Then its fences are not ours, even where the numbers are the same."""
        return bool(beat.db_id) and beat.db_id != self._db_id

    def other_master(self, beat: Heartbeat) -> str:
        """Why a worker that obeys another database, or a later state of ours, gets no work."""
        if self.is_foreign(beat):
            return "it obeys another database: its runs live on, and it can be taken over when they have ended"
        if beat.db_epoch > self._db_epoch:
            return f"it obeys a later state of this database (epoch {beat.db_epoch}, ours is {self._db_epoch})"
        return ""

    def of_a_want(self, worker: Worker, want: Wanted, report: Report, beat: Heartbeat, out: FleetOutbox) -> None:
        """The newest report of a wanted run: from another life of its host only if its own journal lists it."""
        if want.incarnation != beat.incarnation:
            believed = report.ordered and beat.incarnation not in worker.record.clones
            if not (believed or want.decided):
                self._counters["another_life"] += 1
                return
            want.incarnation = beat.incarnation
        if want.report is not None and has_ended(want.report) and not has_ended(report):
            self._counters["older_report"] += 1
            return
        want.report = report
        if report.started_at is not None and not want.started_told and not has_ended(report):
            want.started_told = True
            out.tell(names.SCHEDULER, AttemptStarted(fence=want.fence, pid=report.pid, at=report.started_at))
        tell_end(worker, want, out)

    def _may_be_stray(self, worker: Worker, fence: int) -> bool:
        owner = self._owner(fence)
        if owner and owner != worker.id:
            self._counters["anothers_fence"] += 1
            return False
        if fence_epoch(fence) > self._db_epoch:
            self._counters["future_fence"] += 1
            return False
        return True

    def _of_a_stray(
        self, worker: Worker, fence: int, stray: Stray, foreign: bool, complete: bool, out: FleetOutbox
    ) -> None:
        report = stray.report
        if not has_ended(report):
            if complete and not stray.told:
                stray.told = True
                orphan = OrphanSeen(
                    fence=fence, job_id=report.job_id, pid=report.pid, uuids=report.uuids, host=worker.id
                )
                out.tell(names.SCHEDULER, orphan)
        elif not foreign and complete:
            out.tell(names.SCHEDULER, _exited(worker, fence, report))
            if report.emptied:
                out.tell(names.SCHEDULER, GpuEmptied(fence=fence, uuids=report.uuids, host=worker.id))


def tell_end(worker: Worker, want: Wanted, out: FleetOutbox) -> None:
    """Tell what the Scheduler does not yet know of an end: it is told again and again until it says that it is."""
    report = want.report
    if report is None or not has_ended(report):
        return
    if not want.over:
        out.tell(names.SCHEDULER, _exited(worker, want.fence, report))
    if report.emptied and not want.released:
        out.tell(names.SCHEDULER, GpuEmptied(fence=want.fence, uuids=report.uuids, host=worker.id))


def tell_lost(worker: Worker, want: Wanted, now: float, out: FleetOutbox) -> None:
    """The end of a run of which nothing can be known any more."""
    why = f"worker went offline: no word from {worker.record.name} for {round(now - want.base)} s"
    out.tell(names.SCHEDULER, AttemptExited(fence=want.fence, exit_class="lost", message=why, host=worker.id))


def tell_again(worker: Worker, now: float, out: FleetOutbox) -> None:
    """What the Scheduler has not confirmed may have been lost with a restart of its own. What a worker that is heard
    reports is told with each heartbeat."""
    for want in worker.wants.values():
        if want.lost and not want.over:
            tell_lost(worker, want, now, out)
        if worker.state is WorkerState.OFFLINE:
            tell_end(worker, want, out)


def _exited(worker: Worker, fence: int, report: Report) -> AttemptExited:
    return AttemptExited(
        fence=fence,
        exit_class=report.exit_class or Phase.LOST,
        exit_code=report.exit_code,
        message=report.message,
        started_at=report.started_at,
        ended_at=report.ended_at,
        host=worker.id,
    )


def _drop(known: dict[int, Stray] | dict[int, str] | set[int], fence: int) -> None:
    if isinstance(known, set):
        known.discard(fence)
    else:
        del known[fence]
