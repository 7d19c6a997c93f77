"""What follows from orphans: waiting jobs that must not start beside one, why, and how people end that."""

from __future__ import annotations

from collections.abc import Iterator

from gpuyard.actors.model.attempt import LIVE, LOCAL_HOST
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import StopOrphan, WantStop
from gpuyard.actors.model.commit import PutSetting
from gpuyard.actors.model.errors import NotAllowed, NotFound
from gpuyard.actors.model.events import AttemptExited, RunsAdopted, WorkerFacts
from gpuyard.actors.model.job import Job, Status
from gpuyard.actors.model.orders import driver_of
from gpuyard.actors.model.orphans import NEVER, SETTING
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.yard import Yard


def learn(yard: Yard, facts: WorkerFacts, now: Now, out: Outbox) -> bool:
    """What workers report beyond what is wanted of them. True when a job may start that might not before."""
    orphans = yard.orphans
    before = orphans.standing() if orphans.kept else ()
    changed = orphans.learn(facts, lambda fence: _ours(yard, fence), now.monotonic)
    return (changed or bool(orphans.kept and orphans.standing() != before)) and _sort(yard, now, out)


def adopted(yard: Yard, event: RunsAdopted, now: Now, out: Outbox) -> bool:
    """What lives on this machine. True as above."""
    return yard.orphans.seen_here(event.jobs, lambda fence: _ours(yard, fence)) and _sort(yard, now, out)


def ended(yard: Yard, event: AttemptExited, now: Now, out: Outbox) -> bool:
    """A run on this machine that is not ours is over. True as above."""
    return event.host == LOCAL_HOST and yard.orphans.ended_here(event.fence) and _sort(yard, now, out)


def look(yard: Yard, now: Now, out: Outbox) -> bool:
    """What time brings. True as above."""
    orphans = yard.orphans
    if orphans.unwritten:
        out.row(PutSetting(SETTING, orphans.setting()))
    if not orphans.kept and not orphans.before:
        return False
    before = orphans.standing()
    orphans.at(now.monotonic)
    return (not orphans.kept or orphans.standing() != before) and _sort(yard, now, out)


def _ours(yard: Yard, fence: int) -> bool:
    attempt = yard.attempts.get(fence)
    return attempt is not None and attempt.phase in LIVE


def _sort(yard: Yard, now: Now, out: Outbox) -> bool:
    """Keep back whom an orphan was found of, let go who may start; True when there was one."""
    orphans = yard.orphans
    for job_id in list(orphans.jobs()):
        job = yard.jobs.get(job_id)
        if job is not None and job.status is Status.PENDING:
            yard.keep_back(job, now)
    free = [job for job in orphans.kept.values() if orphans.obstacle(job) is None]
    for job in free:
        yard.let_go(job, now)
    # Nobody forgets that an older state came back before nobody could have more of any job.
    if orphans.before and all(orphans.obstacle(job) is None for job in yard.jobs.values()):
        orphans.settle()
        out.row(PutSetting(SETTING, orphans.setting()))
    return bool(free)


def clear(yard: Yard, job: Job, now: Now, out: Outbox) -> bool:
    """By hand: it does not run on any worker that is not heard. False when nothing of that kind keeps it back."""
    obstacle = yard.orphans.obstacle(job)
    if obstacle is None or obstacle.fence is not None:
        return False
    yard.orphans.clear(job.job_id)
    out.row(PutSetting(SETTING, yard.orphans.setting()))
    return True


def stop(yard: Yard, command: StopOrphan, now: Now, out: Outbox) -> bool:
    """End a run that this database did not order. Raises NotAllowed, NotFound."""
    if not command.by.is_admin:
        raise NotAllowed("only an admin may stop an orphan")
    if not yard.orphans.lives(command.fence, command.host):
        raise NotFound(
            f"no orphan {command.fence} is reported there; `gpuyard workers get WORKER` lists those of a worker"
        )
    reason = f"stopped by {command.by.username}: the server does not know this run"
    out.tell(driver_of(command.host), WantStop(fence=command.fence, host=command.host, reason=reason))
    out.row(yard.event(out, now, "orphan_stopped", by=command.by, fence=command.fence, host=command.host))
    return True


def reasons(yard: Yard, job: Job, now: Now) -> Iterator[Reason]:
    """Why a waiting job is kept back."""
    obstacle = yard.orphans.obstacle(job) if job.job_id in yard.orphans.kept else None
    if obstacle is None:
        return
    host, name, fence, over_at = obstacle
    detail = {"host": host, "name": name, "fence": fence}
    latest = "" if over_at == NEVER else f" It starts at {iso(now.wall + over_at - now.monotonic)} at the latest."
    if fence is not None:
        text = f"Run {fence} of it lives on {name}, which is not an attempt that this database knows to live."
        unblock = f"gpuyard workers stop-orphan {host} {fence}"
    elif name:
        text = f"The database is an older copy that came back, and {name} was not heard since: it may run there."
        unblock = f"start `gpuyard worker` on {name}, or gpuyard jobs release {job.job_id} if it does not run there"
    else:
        text = "The database is an older copy that came back: workers may run it, and they are not known yet."
        unblock = "wait some seconds"
    yield Reason(
        code=ReasonCode.ORPHAN,
        text=text + latest,
        detail=detail,
        unblock=unblock,
        never=over_at == NEVER and bool(host),
    )
