"""A worker as the Scheduler places by it."""

from __future__ import annotations

import msgspec

from gpuyard.actors.model.events import WorkerFact
from gpuyard.actors.model.fleet import leases
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.states import WorkerState
from gpuyard.actors.model.fleet.worker import Worker, has_ended
from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import PROTOCOL, Heartbeat, Report

BEATS_FRESH = 3
HEARD = frozenset({WorkerState.IDLE, WorkerState.BUSY, WorkerState.DRAINING})


def fact_of(worker: Worker, settings: FleetSettings, identity: tuple[str, int], now: Now) -> WorkerFact:
    """The newest that is known of it. `identity` is our database's id and epoch."""
    record, session = worker.record, worker.session
    why = why_not(worker)
    plain = WorkerFact(
        worker_id=record.id,
        name=record.name,
        state=worker.state,
        labels=record.labels,
        order=record.order,
        ephemeral=record.ephemeral,
        takes_work=not why,
        why=why,
        unreachable=leases.unreachable(worker, settings, now.monotonic),
        heard_at=record.heard_at,
        fresh_seconds=BEATS_FRESH * settings.heartbeat,
        max_jobs=1 if record.ephemeral else None,
        observed_at=float("-inf"),
    )
    if session is None:
        return plain
    beat = session.beat
    return msgspec.structs.replace(
        plain,
        gpus=len(beat.gpus),
        labels={**record.labels, **beat.labels},
        facts=_free_of_strays(worker, beat),
        observed_at=session.heard_at - max(0.0, beat.facts_age),
        at_once=beat.at_once,
        max_jobs=1 if record.ephemeral else beat.max_jobs,
        cpu_count=beat.cpu_count,
        orphans=orphans(worker, beat) if _speaks_for_itself(worker, beat) else None,
        settled=_speaks_for_itself(worker, beat) and (beat.db_id, beat.db_epoch) == identity,
    )


def why_not(worker: Worker) -> str:
    """Why it gets no new work, in words; empty when it does. (A drain and silence are states of their own.)"""
    beat = worker.beat
    if worker.refused:
        return worker.refused
    if beat is None:
        return "" if worker.state is WorkerState.OFFLINE else "it has not been heard yet"
    if beat.protocol < PROTOCOL:
        return f"its version {beat.version} is older than the server's: update it (its runs are kept)"
    if beat.leaving:
        return "it is stopping"
    if worker.record.ephemeral and worker.record.spent:
        return "it is ephemeral and has had its job"
    return beat.error or ""


def orphans(worker: Worker, beat: Heartbeat) -> dict[int, str]:
    """What lives there, as its newest heartbeat says, and is no present attempt: fence → job id."""
    return {
        fence: report.job_id
        for fence, report in beat.attempts.items()
        if not has_ended(report)
        and (want.decided if (want := worker.wants.get(fence)) is not None else fence in worker.strays)
    }


def _speaks_for_itself(worker: Worker, beat: Heartbeat) -> bool:
    """Is it heard, and does it know of all that runs in its name? Of two that spoke in turn neither does."""
    return worker.state in HEARD and beat.incarnation not in worker.record.clones


def _free_of_strays(worker: Worker, beat: Heartbeat) -> tuple[GpuFact, ...]:
    """Its GPUs; those that a run has which the Scheduler does not count are somebody else's to it."""
    taken: dict[str, GpuProcess] = {}
    for fence, report in beat.attempts.items():
        want = worker.wants.get(fence)
        if (want is None or want.released) and not _is_gone(report):
            words = f"run {fence} of job {report.job_id or '?'}, which the server does not want"
            taken.update((uuid, GpuProcess(report.pid, words)) for uuid in report.uuids)
    if not taken:
        return beat.gpus
    return tuple(
        msgspec.structs.replace(gpu, foreign=(*gpu.foreign, taken[gpu.uuid])) if gpu.uuid in taken else gpu
        for gpu in beat.gpus
    )


def _is_gone(report: Report) -> bool:
    return has_ended(report) and report.emptied
