"""Runs: what hosts report of attempts, and what follows for the job (DESIGN 4, T5 to T12)."""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model import names, orphan_news, policy, usage
from gpuyard.actors.model.attempt import LIVE, LOCAL_HOST, Attempt, AttemptEvent, Phase, is_worker
from gpuyard.actors.model.cloud_remote import owner_of
from gpuyard.actors.model.commands import (
    ForgetRun,
    LookAtGpus,
    WantAgain,
    WantedComplete,
    WantStop,
    WatchRelease,
    WatchStart,
)
from gpuyard.actors.model.commit import UpdateJob
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.events import (
    AttemptAccepted,
    AttemptExited,
    AttemptProgress,
    AttemptStarted,
    ForeignSeen,
    GpuEmptied,
    GpuFacts,
    GpusLooked,
    OrphanSeen,
)
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.model.job import Job, JobEvent, Status
from gpuyard.actors.model.orders import driver_of
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.shapes import Pool, pool_of
from gpuyard.actors.model.yard import Yard

COMPLETED = "completed"
LOST = "lost"
GPU_FAULT = "gpu_fault"
PROVIDER_DOWN = "provider_down"
DRIVERS = (names.KEEPER, names.WORKERS, names.CLOUD)
RETRIED_BY_DEFAULT = frozenset({LOST, GPU_FAULT, "requeue", "provider_error"})
# Ends that no GPU is to blame for, whatever state it is in: the program, we or the host decided them.
BLAMELESS = frozenset({COMPLETED, LOST, "cancelled", "timeout", "start_failed", "requeue"})
BACKOFF_FIRST = 5.0
BACKOFF_LAST = 300.0
REQUEUE_BACKOFF = 1.0


def accepted(yard: Yard, event: AttemptAccepted, now: Now, out: Outbox) -> None:
    """A provider has it. Off the hot path, as `started` is."""
    attempt = yard.attempts.get(event.fence)
    if attempt is None or attempt.phase is not Phase.ASSIGNED:
        return
    yard.step_attempt(attempt, AttemptEvent.ACCEPTED, out, lazy=True)
    yard.clouds.progress.pop(event.fence, None)  # its files are there
    job = yard.jobs[attempt.job_id]
    there = {"remote_id": event.remote_id, "url": event.url}
    out.lazy.append(yard.event(out, now, "job_accepted", job, None, attempt=attempt.number, **there))


def progressed(yard: Yard, event: AttemptProgress, now: Now, out: Outbox) -> None:
    """A few words about how far it is."""
    attempt = yard.attempts.get(event.fence)
    if attempt is not None and attempt.phase in LIVE:
        job = yard.jobs[attempt.job_id]
        yard.clouds.progress[event.fence] = event.progress
        out.lazy.append(yard.event(out, now, "job_progress", job, attempt=attempt.number, progress=event.progress))


def started(yard: Yard, event: AttemptStarted, now: Now, out: Outbox) -> None:
    """T5. Off the hot path: the rows may wait for the next commit, since a keeper would report again."""
    attempt = yard.attempts.get(event.fence)
    if attempt is None or attempt.phase not in LIVE or attempt.started_at is not None:
        return
    yard.step_attempt(attempt, AttemptEvent.STARTED, out, lazy=True, started_at=event.at, pid=event.pid)
    yard.clouds.progress.pop(event.fence, None)  # what it waited for has come
    job = yard.jobs[attempt.job_id]
    waited: float | None = None
    if job.started_at is None:
        job.started_at = event.at
        waited = round(max(0.0, event.at - job.queued_at), 3)
        out.lazy.append(UpdateJob(job.job_id, Status.RUNNING, {"started_at": event.at}))
    out.lazy.append(yard.event(out, now, "job_started", job, attempt=attempt.number, pid=event.pid, waited=waited))


def exited(yard: Yard, event: AttemptExited, now: Now, out: Outbox) -> None:
    """T7, T10, T11 or T12, with T8 where the GPUs are known to be empty, and the next T3: one commit."""
    attempt = yard.attempts.get(event.fence)
    if attempt is not None and _of_another(attempt, event.host):
        return
    if attempt is None or attempt.phase not in LIVE:
        if _was_given_out(yard, event.fence, event.host):
            out.tell(driver_of(event.host), _forget(yard, event.fence, event.host))
        if orphan_news.ended(yard, event, now, out):
            policy.start_what_may(yard, now, out)
        return
    job = yard.jobs[attempt.job_id]
    was_cancelled = job.cancel_requested
    if not was_cancelled and _look_first(yard, attempt, event):
        yard.suspects[event.fence] = event
        out.tell(names.GPUS, LookAtGpus(fence=event.fence, cause=out.cause))
        return
    yard.suspects.pop(event.fence, None)
    event = event if was_cancelled else _blamed(yard, attempt, event)
    _end_attempt(yard, attempt, event, now, out)
    _end_job(yard, job, attempt, event, now, out)
    _give_back(yard, attempt, now, out)
    out.tell(driver_of(attempt.host), _forget(yard, attempt.fence, attempt.host, out.cause))
    yard.wake_people(job, now)
    if not was_cancelled:
        policy.lift_hold(yard)
    policy.start_what_may(yard, now, out)


def _of_another(attempt: Attempt, host: str) -> bool:
    """Is it a worker that speaks of the run of another host? It has no say in that."""
    return is_worker(host) and attempt.host != host


def _was_given_out(yard: Yard, fence: int, host: str) -> bool:
    """By this database, or on a host of ours by an earlier state of it, whose ends nobody else confirms."""
    return yard.ours(fence) or (not host.startswith(CLOUD_HOST_PREFIX) and fence_epoch(fence) < yard.db_epoch)


def _forget(yard: Yard, fence: int, host: str, cause: str = "") -> ForgetRun:
    """The end of an attempt is known; while it holds a GPU, a worker has to go on reporting."""
    return ForgetRun(fence=fence, host=host, released=fence not in yard.attempts, cause=cause)


def _look_first(yard: Yard, attempt: Attempt, event: AttemptExited) -> bool:
    """May one of its GPUs have broken since they were last read? A keeper repeats an end: it is waited for once."""
    if event.exit_class in BLAMELESS or not attempt.gpus or attempt.host != LOCAL_HOST or yard.ledger.at_once:
        return False
    return event.fence not in yard.suspects and not _faults(yard, attempt)


def looked(yard: Yard, event: GpusLooked, now: Now, out: Outbox) -> None:
    """The GPUs of a run that failed were read again: now its end is judged."""
    suspect = yard.suspects.get(event.fence)
    if suspect is not None:
        exited(yard, suspect, now, out)


def _blamed(yard: Yard, attempt: Attempt, event: AttemptExited) -> AttemptExited:
    """The same end, but the GPU's fault when one of its GPUs has one now: a GPU with a fault is not handed out, so it
    came while the run was on it. The exit code stays the program's."""
    if event.exit_class in BLAMELESS:
        return event
    faults = _faults(yard, attempt)
    if not faults:
        return event
    message = "; ".join([*faults, event.message] if event.message else faults)
    return msgspec.structs.replace(event, exit_class=GPU_FAULT, message=message)


def _faults(yard: Yard, attempt: Attempt) -> list[str]:
    """What is wrong with its GPUs now, in words."""
    known = yard.ledger_of(attempt.host).facts
    facts = [fact for gpu in attempt.gpus if (fact := known.get(gpu.uuid)) is not None]
    return [f"GPU {fact.index}: {fact.fault or 'missing'}" for fact in facts if fact.fault or fact.missing]


def _end_attempt(yard: Yard, attempt: Attempt, event: AttemptExited, now: Now, out: Outbox) -> None:
    yard.step_attempt(
        attempt,
        AttemptEvent.LOST if event.exit_class == LOST else AttemptEvent.EXITED,
        out,
        ended_at=event.ended_at or now.wall,
        exit_code=event.exit_code,
        exit_class=event.exit_class,
        error=event.message or None,
        started_at=event.started_at if attempt.started_at is None else attempt.started_at,
    )
    out.rows.extend(usage.of_attempt(yard.jobs[attempt.job_id], attempt, now.wall))


def _end_job(yard: Yard, job: Job, attempt: Attempt, event: AttemptExited, now: Now, out: Outbox) -> None:
    ended_at = attempt.ended_at or now.wall
    final: dict[str, Any] = {
        "completed_at": ended_at,
        "exit_code": event.exit_code,
        "exit_class": event.exit_class,
        "error_message": event.message or None,
    }
    if job.started_at is None and event.started_at is not None:
        final["started_at"] = event.started_at
    cost = _cost(yard, job, attempt, event)
    if cost is not None:
        final["cost_usd"] = cost
    if job.cancel_requested:
        final["error_message"] = attempt.stop_reason or "cancelled"
        final["exit_class"] = "cancelled"
        yard.change(job, out, JobEvent.CANCELLED, **final)
        kind = "job_cancelled"
    elif event.exit_class == COMPLETED:
        yard.change(job, out, JobEvent.COMPLETED, **{**final, "error_message": None})
        kind = "job_completed"
    elif event.exit_class == PROVIDER_DOWN:
        # Nothing of it was ever there: the attempt does not count, and the job waits for its provider.
        wait_until = now.wall + REQUEUE_BACKOFF
        yard.change(job, out, JobEvent.REQUEUED, wait_until=wait_until, error_message=event.message or None)
        kind = "job_requeued"
    elif _retried(job, event.exit_class):
        wait = REQUEUE_BACKOFF if event.exit_class == "requeue" else backoff(job.attempt)
        yard.change(
            job,
            out,
            JobEvent.REQUEUED,
            attempt=job.attempt + 1,
            wait_until=now.wall + wait,
            error_message=event.message or None,
            **({} if cost is None else {"cost_usd": cost}),
        )
        kind = "job_requeued"
    else:
        yard.change(job, out, JobEvent.FAILED, **final)
        kind = "job_failed"
    out.row(
        yard.event(
            out,
            now,
            kind,
            job,
            attempt=attempt.number,
            exit_code=event.exit_code,
            exit_class=event.exit_class,
            message=event.message,
            ran=round(max(0.0, ended_at - attempt.started_at), 3) if attempt.started_at is not None else None,
        )
    )


def _cost(yard: Yard, job: Job, attempt: Attempt, event: AttemptExited) -> float | None:
    """What the job cost so far with this attempt, in USD: as its provider says, else by the price table."""
    if not attempt.host.startswith(CLOUD_HOST_PREFIX):
        return None
    cost = event.cost_usd
    if cost is None and attempt.started_at is not None:
        hardware = job.spec.provider_options.get("hardware")
        ran = max(0.0, (attempt.ended_at or attempt.started_at) - attempt.started_at)
        chosen = hardware if isinstance(hardware, str) else None
        cost = yard.clouds.prices.cost(job.spec.provider or "", chosen, job.spec.num_processes, ran)
    return None if cost is None else round((job.cost_usd or 0.0) + cost, 6)


def _retried(job: Job, exit_class: str) -> bool:
    if job.attempt >= job.spec.max_attempts:
        return False
    return exit_class in RETRIED_BY_DEFAULT or exit_class in job.spec.retry_on


def backoff(attempt: int) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) ended early."""
    return float(min(BACKOFF_LAST, BACKOFF_FIRST * 2 ** (attempt - 1)))


def _give_back(yard: Yard, attempt: Attempt, now: Now, out: Outbox) -> None:
    """T8 at once where GPUs are known to be empty (none, or simulated), or their host is no more; else once the
    allocator has looked. A worker looks by itself, and its registry says when.

    Simulated GPUs are told too: their load ends with the run."""
    if is_worker(attempt.host):
        if yard.hosts.is_gone(attempt.host) or yard.ledger_of(attempt.host).at_once:
            yard.release(attempt.fence, (), now, out)
        else:
            yard.ledger_of(attempt.host).start_releasing(attempt.fence)
        return
    if yard.ledger.at_once:
        yard.release(attempt.fence, (), now, out)
    elif attempt.gpus and attempt.host == LOCAL_HOST:
        yard.ledger.start_releasing(attempt.fence)
    if attempt.gpus and attempt.host == LOCAL_HOST:
        uuids = tuple(gpu.uuid for gpu in attempt.gpus)
        out.tell(names.GPUS, WatchRelease(fence=attempt.fence, uuids=uuids, cause=out.cause))


def emptied(yard: Yard, event: GpuEmptied, now: Now, out: Outbox) -> None:
    """T8: the GPUs of an ended attempt are empty. A hold of a live attempt is never touched."""
    attempt = yard.attempts.get(event.fence)
    if attempt is not None and (attempt.phase in LIVE or _of_another(attempt, event.host)):
        return
    released = yard.release(event.fence, event.uuids, now, out)
    if is_worker(event.host) and _was_given_out(yard, event.fence, event.host):
        out.tell(driver_of(event.host), _forget(yard, event.fence, event.host, out.cause))
    if released:
        policy.start_what_may(yard, now, out)


def facts_changed(yard: Yard, facts: GpuFacts, now: Now, out: Outbox) -> None:
    """New facts about GPUs; what became free starts the next job."""
    was_fresh = yard.ledger.fresh(now.monotonic)
    before = {fact.uuid: _standing(fact) for fact in yard.ledger.facts.values()}
    changed = yard.ledger.learn(facts)
    after = {fact.uuid: _standing(fact) for fact in yard.ledger.facts.values()}
    if before != after and before:
        for uuid in sorted(set(before) | set(after)):
            if before.get(uuid) != after.get(uuid):
                fact = yard.ledger.facts.get(uuid)
                index = fact.index if fact else None
                row = yard.event(out, now, "gpu_changed", uuid=uuid, index=index, state=str(yard.ledger.state(uuid)))
                out.lazy.append(row)
    if changed or not was_fresh:
        policy.start_what_may(yard, now, out)


def _standing(fact: GpuFact) -> tuple[Any, ...]:
    """What a GPU's story tells of: not the memory of foreigners, which changes with every reading."""
    return fact.usable, fact.fault, tuple(process.pid for process in fact.foreign)


def foreign_seen(yard: Yard, event: ForeignSeen, now: Now, out: Outbox) -> None:
    """Somebody else's process appeared on a GPU that we had just handed out: said in the job's story."""
    attempt = yard.attempts.get(event.fence)
    job = yard.jobs.get(attempt.job_id) if attempt is not None else None
    if job is not None:
        pids = [process.pid for process in event.processes]
        out.lazy.append(yard.event(out, now, "foreign_process_seen", job, uuid=event.uuid, pids=pids))


def orphan_seen(yard: Yard, event: OrphanSeen, now: Now, out: Outbox) -> None:
    """A run that this database does not know lives here: it keeps running and is told, never stopped.

    At a provider it costs money, and its token says which database gave it out: one of ours whose attempt has ended
    is stopped.
    """
    if event.fence in yard.attempts:
        return
    if event.host.startswith(CLOUD_HOST_PREFIX) and yard.ours(event.fence):
        out.tell(driver_of(event.host), WantStop(fence=event.fence, host=event.host, reason="its attempt has ended"))
        return
    out.lazy.append(yard.event(out, now, "orphan_seen", fence=event.fence, orphan_job_id=event.job_id, pid=event.pid))


def want_all(yard: Yard, out: Outbox) -> None:
    """After a rebuild: want every live attempt again."""
    for driver in DRIVERS:
        _want(yard, driver, out)


def want_again(yard: Yard, command: WantAgain, now: Now, out: Outbox) -> None:
    """A driver began anew and asks what shall live."""
    _want(yard, command.driver, out)


def _want(yard: Yard, driver: str, out: Outbox) -> None:
    live = [a for a in yard.attempts.values() if a.phase in LIVE and driver_of(a.host) == driver]
    for attempt in live:
        out.tell(driver, yard.want_run(yard.jobs[attempt.job_id], attempt, again=True))
        if attempt.gpus and attempt.host == LOCAL_HOST:
            uuids = tuple(gpu.uuid for gpu in attempt.gpus)
            out.tell(names.GPUS, WatchStart(fence=attempt.fence, uuids=uuids))
        if attempt.phase is Phase.STOPPING:
            reason = attempt.stop_reason or "cancelled"
            out.tell(driver, WantStop(fence=attempt.fence, host=attempt.host, reason=reason))
    for attempt in yard.attempts.values() if driver == names.WORKERS else ():
        if attempt.phase not in LIVE:
            # It holds GPUs still: its worker shall say when they are empty, even if it has forgotten the run.
            out.tell(driver, WantStop(fence=attempt.fence, host=attempt.host, reason="it has ended"))
    fences = tuple(attempt.fence for attempt in live)
    out.tell(driver, WantedComplete(fences=fences, owner=owner_of(yard.db_id)))


def release_ended(yard: Yard, now: Now, out: Outbox) -> None:
    """After a rebuild, once GPU facts are there: holds of ended attempts are released or watched."""
    for fence in {yard.ledger.holds[uuid].fence for uuid in yard.ledger.releasing}:
        if yard.ledger.at_once:
            yard.release(fence, (), now, out)
        else:
            uuids = tuple(gpu.uuid for gpu in yard.ledger.held_by(fence))
            out.tell(names.GPUS, WatchRelease(fence=fence, uuids=uuids))


def holds_back(job: Job) -> bool:
    """Does cancelling this running job set `processing_held`? Cloud jobs do not (DESIGN 6)."""
    return pool_of(job) is not Pool.CLOUD
