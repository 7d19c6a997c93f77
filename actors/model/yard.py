"""The yard: every active job, attempt, GPU hold and limit, with the indices that make decisions cheap.

The Scheduler's whole state, changed only through the methods below; each keeps the indices true and writes the rows
that make the change durable. What to change is decided in `submit`, `runs`, `cancel`, `change` and `policy`.

Invariants (checked by `violations.py`, used by tests): a pending job stands in the order exactly
once; a running one has exactly one live attempt; a GPU has at most one open hold; counts equal what they count.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from gpuyard.actors.model import attempt as attempts, job as jobs, names, orders, priority
from gpuyard.actors.model.approval_book import ApprovalBook
from gpuyard.actors.model.attempt import CLOUD_HOST_PREFIX, LIVE, LOCAL_HOST, Attempt, AttemptEvent, GpuRef, is_worker
from gpuyard.actors.model.clouds import Clouds
from gpuyard.actors.model.commands import WantRun, WatchStart
from gpuyard.actors.model.commit import (
    CloseHolds,
    EventRow,
    Hold,
    InsertAttempt,
    InsertJob,
    OpenHold,
    Snapshot,
    StoredKey,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.hosts import Hosts, need_of
from gpuyard.actors.model.ids import FENCE_BITS, fence_epoch, make_fence
from gpuyard.actors.model.job import Job, JobEvent, Status
from gpuyard.actors.model.ledger import Ledger
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.order import QueueOrder
from gpuyard.actors.model.orphans import SETTING as ORPHANS_SETTING, Orphans
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.shapes import WORKERS_CHANGED, Cause, Pool, Shapes, pool_of
from gpuyard.actors.model.timers import Timers
from gpuyard.actors.model.windows import Window, is_open

WAITS_KEPT = 100
LIMITS_SETTING = "limits"
PAUSED_SETTING = "paused"
PAUSABLE = ("local", "worker", "cloud")
LEASE_SECONDS = 1800.0


class Yard:
    """`new_job_id` gives unused ids; `default_limits` are those of a database that never changed any; `lease_seconds`
    is what a job on a worker gets that names none."""

    def __init__(
        self,
        snapshot: Snapshot,
        new_job_id: Callable[[], str],
        default_limits: Limits,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.new_job_id = new_job_id
        self.lease_seconds = lease_seconds
        self.db_id, self.db_epoch = snapshot.db_id, snapshot.db_epoch
        self.next_job, self.next_seq = snapshot.next_job, snapshot.next_seq
        self.next_event, self.next_fence = snapshot.next_event, snapshot.next_fence
        stored = snapshot.settings.get(LIMITS_SETTING) or {}
        self.limits = msgspec.convert({**msgspec.to_builtins(default_limits), **stored}, Limits)
        self.ledger = Ledger()
        self.hosts = Hosts()
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[int, Attempt] = {}
        self.attempt_of: dict[str, Attempt] = {}
        self.order = QueueOrder()
        self.shapes = Shapes()
        self.counts: Counter[str] = Counter(snapshot.counts)
        self.waits: deque[float] = deque(snapshot.waits, WAITS_KEPT)
        self.keys: dict[tuple[int, str], StoredKey] = {(k.user_id, k.key): k for k in snapshot.keys}
        self.book = ApprovalBook(snapshot)
        self.active_by_user: dict[int, dict[str, Job]] = {}
        self.running: dict[Pool, dict[str, Job]] = {pool: {} for pool in Pool}
        self.pending: Counter[Pool] = Counter()
        self.gpus_of_user: Counter[int] = Counter()
        self.running_of_user: Counter[int] = Counter()
        self.local_gpus_used = 0
        self.cloud_of_user: Counter[int] = Counter()
        self.cloud_of_team: Counter[str] = Counter()
        self.clouds = Clouds()
        self.orphans = Orphans(
            snapshot.db_epoch,
            snapshot.settings.get(ORPHANS_SETTING),
            snapshot.next_job,
            lambda spec: orders.lease_of(spec, lease_seconds),
        )
        self.paused = frozenset(snapshot.settings.get(PAUSED_SETTING) or ()) & frozenset(PAUSABLE)
        self.processing_held = False
        self.held_since = 0.0
        self.last_ranked_at = 0.0
        # Ends that may be the fault of a GPU, which is being looked at.
        self.suspects: dict[int, AttemptExited] = {}
        self.timers = Timers()
        self.gpu_idle_seconds = 0.0
        self.idle = (0, 0.0)  # GPUs that stand idle although they are wanted, and since when
        self.revision = 0
        self._restore(snapshot)

    def _restore(self, snapshot: Snapshot) -> None:
        for attempt in snapshot.attempts:
            self.attempts[attempt.fence] = attempt
            if attempt.phase in LIVE:
                self.attempt_of[attempt.job_id] = attempt
                if is_worker(attempt.host):
                    self.hosts.begin(attempt)
        for hold in snapshot.holds:
            self._hold(hold)
            holder = self.attempts.get(hold.fence)
            if holder is None or holder.phase not in LIVE:
                self.ledger_of(hold.host).start_releasing(hold.fence)
        for job in sorted(snapshot.jobs, key=lambda job: job.seq):
            self.jobs[job.job_id] = job
            self.active_by_user.setdefault(job.user_id, {})[job.job_id] = job
            self.last_ranked_at = max(self.last_ranked_at, job.ranked_at)
            if job.status is Status.RUNNING:
                self._count_running(job, 1)
            elif job.status is Status.PENDING:
                self._line_up(job, job.ranked_at)
        self.watch_approvals()

    # --- small questions ---------------------------------------------------------------------------------------

    def pool(self, job: Job) -> Pool:
        """Where a running job runs, or a pending one takes its turn."""
        attempt = self.attempt_of.get(job.job_id)
        return Pool.WORKER if attempt is not None and is_worker(attempt.host) else pool_of(job)

    def ledger_of(self, host: str) -> Ledger:
        """The ledger of this machine's GPUs, or of a worker's."""
        return self.hosts.get(host).ledger if is_worker(host) else self.ledger

    def effective(self, job: Job, now: Now) -> int:
        return priority.effective(job, now.wall, self.limits.starvation_threshold_minutes)

    def rank_key(self, job: Job, now: Now) -> tuple[int, int]:
        """Smaller comes first."""
        return (-self.effective(job, now), job.seq)

    def position(self, job: Job, now: Now) -> int | None:
        """1..n among pending jobs, else None."""
        if job.status is not Status.PENDING:
            return None
        return self.order.position(job, now.wall, self.limits.starvation_threshold_minutes)

    def waiting_of(self, user_id: int) -> int:
        """How many jobs of a user are pending or blocked."""
        return len(self.active_by_user.get(user_id, ())) - self.running_of_user[user_id]

    def ours(self, fence: int) -> bool:
        """Was this fence given out by this database (as against a restored or foreign one)?"""
        return fence >> FENCE_BITS == self.db_epoch and fence & ((1 << FENCE_BITS) - 1) < self.next_fence

    # --- events and jobs ---------------------------------------------------------------------------------------

    def event(
        self, out: Outbox, now: Now, kind: str, job: Job | None = None, by: Viewer | None = None, **data: Any
    ) -> EventRow:
        """A line of the story; the caller puts it into `rows` or `lazy`. `by` None: gpuyard did it by itself."""
        row = EventRow(
            id=self.next_event,
            at=now.wall,
            kind=kind,
            job_id=job.job_id if job else None,
            user_id=job.user_id if job else None,
            by=by.username if by else "",
            data=data,
            cause=out.cause,
            by_user_id=by.user_id if by else None,
            token_id=by.token_id if by else None,
            address=by.address if by else "",
        )
        self.next_event += 1
        return row

    def rank(self, now: Now) -> tuple[int, float]:
        """A new place at the end of the queue: its seq and time (never before that of an earlier place)."""
        self.last_ranked_at = max(self.last_ranked_at, now.wall)
        self.next_seq += 1
        return self.next_seq - 1, self.last_ranked_at

    def admit(self, job: Job, now: Now, out: Outbox, by: Viewer) -> None:
        """T1: a new job, pending or blocked."""
        out.row(InsertJob(msgspec.structs.replace(job)))
        self.jobs[job.job_id] = job
        self.active_by_user.setdefault(job.user_id, {})[job.job_id] = job
        self.counts[job.status] += 1
        if job.status is Status.PENDING:
            self._line_up(job, now.wall)
            self.book.note_let_in(job.user_id, now, out)
        self.book.note_submit(job.user_id, now)
        out.row(self.event(out, now, "job_submitted", job, by, status=str(job.status)))

    def change(self, job: Job, out: Outbox, event: JobEvent | None = None, **changes: Any) -> None:
        """Set fields of `job`, stepping its state by `event` if given; keeps every index and writes the row."""
        before = job.status
        if before is Status.PENDING:
            self._leave_line(job)
        elif before is Status.RUNNING and event is not None:
            self._count_running(job, -1)
        if event is not None:
            changes["status"] = jobs.step(job, event)
            self.counts[before] -= 1
            self.counts[job.status] += 1
        for field, value in changes.items():
            setattr(job, field, value)
        if job.status is Status.PENDING:
            self._line_up(job, job.ranked_at)
        elif job.status is Status.RUNNING and event is not None:
            self._count_running(job, 1)
        elif job.status in jobs.TERMINAL:
            del self.jobs[job.job_id]
            mine = self.active_by_user[job.user_id]
            del mine[job.job_id]
            if not mine:
                del self.active_by_user[job.user_id]
        out.row(UpdateJob(job.job_id, before, changes))

    # --- attempts and holds ------------------------------------------------------------------------------------

    def assign(self, job: Job, host: str, gpus: list[GpuFact], now: Now, out: Outbox) -> Attempt:
        """T3: pending → running with a new fence and its GPU holds; the start leaves after the commit."""
        fence = make_fence(self.db_epoch, self.next_fence)
        self.next_fence += 1
        attempt = Attempt(
            fence=fence,
            job_id=job.job_id,
            number=job.attempt,
            host=host,
            gpus=tuple(GpuRef(gpu.uuid, gpu.index) for gpu in gpus),
            assigned_at=now.wall,
        )
        self.attempts[fence] = self.attempt_of[job.job_id] = attempt
        self.waits.append(max(0.0, now.wall - job.ranked_at))
        changes: dict[str, Any] = {} if job.wait_until is None else {"wait_until": None}
        self.change(job, out, JobEvent.ASSIGNED, **changes)
        out.row(InsertAttempt(msgspec.structs.replace(attempt)))
        if is_worker(host):
            self.hosts.begin(attempt)
        for gpu in gpus:
            self._hold(Hold(host, gpu.uuid, gpu.index, fence, now.wall))
            out.row(OpenHold(host, gpu.uuid, gpu.index, fence, now.wall))
        indices = [gpu.index for gpu in gpus]
        out.row(self.event(out, now, "job_assigned", job, attempt=job.attempt, fence=fence, host=host, gpus=indices))
        out.tell(orders.driver_of(host), self.want_run(job, attempt, out.cause))
        if gpus and host == LOCAL_HOST:
            out.tell(names.GPUS, WatchStart(fence=fence, uuids=tuple(g.uuid for g in gpus), cause=out.cause))
        return attempt

    def _hold(self, hold: Hold) -> None:
        if is_worker(hold.host):
            self.hosts.hold(hold)
        else:
            self.ledger.hold(hold)

    def want_run(self, job: Job, attempt: Attempt, cause: str = "", *, again: bool = False) -> WantRun:
        """What the driver of the attempt's host is told; `again` after a rebuild."""
        # Of an older state that came back: where its host does not know it, it has gone with what came after.
        older = fence_epoch(attempt.fence) < self.db_epoch and not attempt.host.startswith(CLOUD_HOST_PREFIX)
        started = attempt.started_at is not None or older
        return orders.want_run(job, attempt, self.db_id, self.lease_seconds, cause, again=again, started=started)

    def step_attempt(
        self, attempt: Attempt, event: AttemptEvent, out: Outbox, *, lazy: bool = False, **changes: Any
    ) -> None:
        """Step an attempt's phase and set fields; writes the row."""
        changes["phase"] = attempts.step(attempt, event)
        for field, value in changes.items():
            setattr(attempt, field, value)
        row = UpdateAttempt(attempt.fence, changes)
        (out.lazy if lazy else out.rows).append(row)
        if attempt.phase not in LIVE:
            self.attempt_of.pop(attempt.job_id, None)
            if is_worker(attempt.host):
                self.hosts.end(attempt)
            self._forget_ended(attempt)

    def _forget_ended(self, attempt: Attempt) -> None:
        if attempt.phase not in LIVE and not self.ledger_of(attempt.host).held_by(attempt.fence):
            self.attempts.pop(attempt.fence, None)
            self.clouds.progress.pop(attempt.fence, None)

    def release(self, fence: int, uuids: tuple[str, ...], now: Now, out: Outbox) -> bool:
        """T8: close the holds of a fence; True when there were any."""
        attempt = self.attempts.get(fence)
        host = attempt.host if attempt is not None else LOCAL_HOST
        released = self.hosts.release(host, fence, uuids) if is_worker(host) else self.ledger.release(fence, uuids)
        if released:
            out.row(CloseHolds(fence, now.wall, released))
        if attempt is not None:
            self._forget_ended(attempt)
        return bool(released)

    # --- indices -----------------------------------------------------------------------------------------------

    def _line_up(self, job: Job, now_wall: float) -> None:
        self.order.add(job)
        self.pending[pool_of(job)] += 1
        if job.held:
            return
        wake = max(job.spec.not_before or 0.0, job.wait_until or 0.0)
        if wake > now_wall:
            self.timers.wake(job.job_id, wake)
        else:
            self._join(job, now_wall)

    def _join(self, job: Job, now_wall: float) -> None:
        if self.orphans.keeps(job):
            return
        if job.spec.window is not None:
            self._watch(job.spec.window, now_wall)
        self.shapes.add(job, now_wall)
        if pool_of(job) is Pool.WORKER and not self.hosts.matching(need_of(job)):
            self.shapes.park(job, WORKERS_CHANGED)

    def _leave_line(self, job: Job) -> None:
        self.order.remove(job)
        self.shapes.remove(job)
        self.orphans.kept.pop(job.job_id, None)
        self.pending[pool_of(job)] -= 1

    def keep_back(self, job: Job, now: Now) -> None:
        """An orphan of a waiting job was found."""
        self._leave_line(job)
        self._line_up(job, now.wall)

    def let_go(self, job: Job, now: Now) -> None:
        """What kept a waiting job back is gone: it takes its turn."""
        del self.orphans.kept[job.job_id]
        self._join(job, now.wall)

    def wake_due(self, now: Now) -> bool:
        """Let the jobs in whose time has come; True when there was one."""
        woken = False
        for job_id in self.timers.jobs_due(now.wall):
            job = self.jobs.get(job_id)
            if job is not None and job.status is Status.PENDING and not job.held:
                self.shapes.remove(job)
                self._join(job, now.wall)
                woken = True
        for window in self.timers.windows_due(now.wall):
            if self.shapes.has(window):
                self._watch(window, now.wall)
                woken = woken or is_open(window, now.wall)
        return woken

    def _watch(self, window: Window, at: float) -> None:
        """Keep the window's jobs in or out as it is now, and be called when that changes."""
        if self.timers.watch(window, at):
            self.shapes.turn(window, is_open(window, at), at)

    def watch_approvals(self) -> None:
        """Be called when the first approval that waits expires; after a rebuild, and when that changes."""
        first = self.book.first_expiry(self.limits.approval_expiry_hours)
        if first is not None:
            self.timers.call_at(first)

    def _count_running(self, job: Job, by: int) -> None:
        if by > 0:
            pool = self.pool(job)
            self.running[pool][job.job_id] = job
        else:
            # Its attempt has ended by now: it counts where it was counted when it started.
            pool = next(pool for pool, members in self.running.items() if job.job_id in members)
            del self.running[pool][job.job_id]
        self.running_of_user[job.user_id] += by
        if pool is Pool.CLOUD:
            self.cloud_of_user[job.user_id] += by
            if job.team_id is not None:
                self.cloud_of_team[job.team_id] += by
        else:
            self.gpus_of_user[job.user_id] += by * job.spec.num_processes
            if pool is Pool.GPU:
                self.local_gpus_used += by * job.spec.num_processes

    def wake_people(self, job: Job, now: Now) -> None:
        """After `job` gave back its share: those who waited for its user's or team's limit may look again."""
        causes: list[Cause] = [("user", str(job.user_id))]
        if job.team_id is not None:
            causes.append(("team", job.team_id))
        for cause in causes:
            self.shapes.wake(cause, now.wall)
