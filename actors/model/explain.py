"""Why a pending job waits: reasons as a pure function of (job, yard, now), computed when read (DESIGN 6).

The same predicates as the policy's decide here, so a job without a reason would start; following a reason's
`unblock` starts it, once the other reasons are gone too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gpuyard.actors.model import (
    gpu_words,
    limit_reasons,
    orphan_news,
    pauses,
    policy,
    reserve,
    reviews,
    windows,
    worker_reasons,
)
from gpuyard.actors.model.clock import iso, iso_or_none
from gpuyard.actors.model.clouds import DEFAULT_PROVIDER
from gpuyard.actors.model.gpu import GIB, GpuFact, GpuState
from gpuyard.actors.model.job import Job, Status
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.reasons import BLOCKING_SHOWN, Reason, ReasonCode
from gpuyard.actors.model.shapes import Pool, may_go_to_worker, pool_of
from gpuyard.actors.model.yard import Yard

BROKEN_SHOWN = 4


def why(yard: Yard, job: Job, now: Now) -> list[Reason]:
    """At least one reason for every pending or blocked job; none for a running one. The first is the main one."""
    if job.status is Status.BLOCKED:
        return [reviews.waiting(yard, yard.book.pending.get(job.approval_id or 0), job.job_id)]
    if job.status is not Status.PENDING:
        return []
    found = list(obstacles(yard, job, now))
    if yard.processing_held and pool_of(job) is not Pool.CLOUD:
        # Behind what holds this job alone: releasing it also lifts the common hold.
        found.insert(len(list(_by_hand_and_time(job, now))), _processing_held())
    return found or [_priority(yard, job, now)]


def obstacles(yard: Yard, job: Job, now: Now) -> Iterator[Reason]:
    """What stands between `job` and its start, `processing_held` left aside; nothing when it may start.

    `job` need not be in the yard yet.
    """
    yield from _by_hand_and_time(job, now)
    yield from orphan_news.reasons(yard, job, now)
    match pool_of(job):
        case Pool.GPU | Pool.CPU:
            yield from limit_reasons.of_user(yard, job)
            yield from _here_or_on_a_worker(yard, job, now)
        case Pool.WORKER:
            yield from limit_reasons.of_user(yard, job)
            yield from _workers(yard, job, now)
        case Pool.CLOUD:
            yield from pauses.reasons(yard, "cloud")
            yield from _cloud(yard, job)


def _here_or_on_a_worker(yard: Yard, job: Job, now: Now) -> list[Reason]:
    """Nothing when either side may have it; else what both say. A side that can never have it is no reason to give up
    while the other may."""
    local = [*pauses.reasons(yard, "local"), *_local(yard, job, now)]
    if not local or not may_go_to_worker(job) or not len(yard.hosts):
        return local
    remote = _workers(yard, job, now)
    if not remote:
        return []
    hopeless = [any(reason.never for reason in side) for side in (local, remote)]
    if not all(hopeless):
        local, remote = ([msgspec.structs.replace(r, never=False) for r in side] for side in (local, remote))
    # A worker that could have it is tried first.
    return [*remote, *local] if hopeless[0] and not hopeless[1] else [*local, *remote]


def _workers(yard: Yard, job: Job, now: Now) -> list[Reason]:
    """Why no worker takes it now."""
    return list(pauses.reasons(yard, "worker")) or list(worker_reasons.why(yard, job, now))


def _local(yard: Yard, job: Job, now: Now) -> Iterator[Reason]:
    """Why this machine does not take it now."""
    place = _place(yard, job, now)
    if job.spec.is_cpu:
        yield from limit_reasons.of_cpu_job(yard, place)
        return
    yield from _too_big(yard, job)
    yield from limit_reasons.of_gpu_job(yard, job, place)
    yield from _gpus(yard, job, now)


def _by_hand_and_time(job: Job, now: Now) -> Iterator[Reason]:
    if job.held:
        yield Reason(
            code=ReasonCode.HELD,
            text="It is held by hand.",
            unblock=f"gpuyard jobs release {job.job_id}",
            never=True,
        )
    if job.spec.not_before is not None and job.spec.not_before > now.wall:
        at = iso(job.spec.not_before)
        yield Reason(code=ReasonCode.NOT_BEFORE, text=f"It starts not before {at}.", detail={"not_before": at})
    if job.wait_until is not None and job.wait_until > now.wall:
        at = iso(job.wait_until)
        ended = f"Attempt {job.attempt - 1} ended early; attempt {job.attempt} starts at {at}."
        yield Reason(
            code=ReasonCode.BACKOFF,
            # An attempt that its provider never took is not counted.
            text=ended if job.attempt > 1 else f"Its provider did not take it; it is tried again at {at}.",
            detail={"until": at, "attempt": job.attempt},
        )
    window = job.spec.window
    if window is not None and not windows.is_open(window, now.wall):
        at = iso(windows.opens_at(window, now.wall))
        yield Reason(
            code=ReasonCode.WINDOW,
            text=f"It starts only within {window}, which opens at {at}.",
            detail={"window": str(window), "zone": window.zone, "opens_at": at},
            unblock="wait until it opens, or cancel it and submit it again without --window",
        )


def _too_big(yard: Yard, job: Job) -> Iterator[Reason]:
    need, memory = job.spec.num_processes, job.spec.gpu_memory
    total = len(reserve.among(yard.ledger.known, (), memory))
    if need > total:
        out = [gpu for gpu in _all(yard) if gpu.excluded and gpu_words.curable(gpu)]
        excluded = reserve.among(out, (), memory)
        more = f" {len(excluded)} more {'is' if len(excluded) == 1 else 'are'} excluded." if excluded else ""
        enough = total + len(excluded) >= need
        yield Reason(
            code=ReasonCode.TOO_BIG,
            text=f"It asks for {gpu_words.asked(job.spec)}; this host has {total}.{more}",
            detail={"need": need, "total": total, "excluded": [gpu.index for gpu in excluded]},
            unblock=gpu_words.cure(excluded[: need - total]) if enough else "submit it with fewer GPUs",
            never=True,
        )


def _gpus(yard: Yard, job: Job, now: Now) -> Iterator[Reason]:
    """Why the GPUs themselves do not suffice."""
    if policy.place(yard, job, now) is not None:
        return
    ledger, need = yard.ledger, job.spec.num_processes
    if not ledger.fresh(now.monotonic):
        text = ledger.error or "the GPU driver has not answered for more than 2 s"
        yield Reason(
            code=ReasonCode.GPUS_BUSY,
            text=f"No GPU is handed out on old facts: {text}.",
            detail={"error": text},
            unblock="gpuyard doctor",
        )
        return
    wanted, memory = tuple(job.spec.wanted_devices), job.spec.gpu_memory
    mine = reserve.among(ledger.known, wanted, memory)
    free = reserve.among(ledger.free, wanted, memory)
    if len(free) >= need:
        reservation = reserve.find(yard, now)
        assert reservation is not None
        yield Reason(
            code=ReasonCode.RESERVED_FOR_JOB,
            text=f"The free GPUs are kept for job {reservation.job.job_id}, which has waited longer.",
            detail={"kept": sorted(ledger.facts[uuid].index for uuid in reservation.kept)},
            blocking_jobs=(reservation.job.job_id,),
            unblock=f"gpuyard jobs hold {reservation.job.job_id}",
        )
        return
    yield from _unusable(ledger.state, mine)
    yield _busy(yard, job, mine, free)


def _busy(yard: Yard, job: Job, mine: list[GpuFact], free: list[GpuFact]) -> Reason:
    ledger, need, wanted = yard.ledger, job.spec.num_processes, tuple(job.spec.wanted_devices)
    holders: dict[str, None] = {}
    for gpu in mine:
        hold = ledger.holds.get(gpu.uuid)
        attempt = yard.attempts.get(hold.fence) if hold is not None else None
        if attempt is not None:
            holders[attempt.job_id] = None
    blocking = tuple(holders)[:BLOCKING_SHOWN]
    cancel = f"gpuyard jobs cancel {' '.join(blocking)} && gpuyard queue process" if blocking else ""
    broken = [gpu for gpu in reserve.among(_all(yard), wanted, job.spec.gpu_memory) if gpu_words.standing(gpu)]
    cure = _cure(broken, need - sum(gpu_words.standing(gpu) is None for gpu in mine))
    unblock = " && ".join(part for part in (cure, cancel) if part)
    if wanted:
        code, otherwise = ReasonCode.DEVICE_IDS_BUSY, "submit it with --any-gpu"
        text = f"It wants {need} of the GPUs {_list(list(wanted))}; free of these: {_list([g.index for g in free])}."
    else:
        code, otherwise = ReasonCode.GPUS_BUSY, "gpuyard gpus"
        text = f"It needs {need} {'GPU' if need == 1 else 'GPUs'}; {len(free)} of {len(mine)} are free."
    return Reason(
        code=code,
        text=" ".join([text, *(_standing(gpu) for gpu in broken[:BROKEN_SHOWN])]),
        detail={
            "need": need,
            "free": [gpu.index for gpu in free],
            **({"device_ids": list(wanted)} if wanted else {}),
            **({"out_of_service": [_out_of_service(gpu) for gpu in broken]} if broken else {}),
        },
        blocking_jobs=blocking,
        unblock=unblock or otherwise,
        never=bool(cure),
    )


def _cure(broken: list[GpuFact], short: int) -> str:
    """The commands that give the `short` GPUs which the job would lack even if all others were free; "" for none."""
    curable = [gpu for gpu in broken if gpu_words.curable(gpu)]
    return gpu_words.cure(curable[:short]) if 0 < short <= len(curable) else ""


def _standing(gpu: GpuFact) -> str:
    return f"GPU {gpu.index} is {gpu_words.standing(gpu)}: {gpu_words.trouble(gpu)}."


def _out_of_service(gpu: GpuFact) -> dict[str, Any]:
    return {"gpu": gpu.index, "uuid": gpu.uuid, "state": gpu_words.standing(gpu), "why": gpu_words.trouble(gpu)}


def _all(yard: Yard) -> list[GpuFact]:
    """All GPUs of the host, the excluded ones too."""
    return sorted(yard.ledger.facts.values(), key=lambda gpu: gpu.index)


def _unusable(state: Any, gpus: list[GpuFact]) -> Iterator[Reason]:
    """One reason for all GPUs that somebody outside the queue uses."""
    foreign = [gpu for gpu in gpus if state(gpu.uuid) is GpuState.BUSY_EXTERNAL]
    if not foreign:
        return
    users = [
        {"gpu": gpu.index, "pid": process.pid, "name": process.name, "memory_bytes": process.memory_bytes}
        for gpu in foreign
        for process in gpu.foreign
    ]
    words = [
        f"GPU {gpu.index} by pid {process.pid or 'unknown'}"
        + (f" ({process.name})" if process.name else "")
        + (f" with {process.memory_bytes / GIB:.1f} GiB" if process.memory_bytes else "")
        for gpu in foreign
        for process in gpu.foreign
    ]
    yield Reason(
        code=ReasonCode.FOREIGN_PROCESS,
        text=f"Used from outside the queue: {'; '.join(words)}.",
        detail={"processes": users},
        unblock="end these processes, or wait until they end",
    )


def _cloud(yard: Yard, job: Job) -> Iterator[Reason]:
    provider = job.spec.provider or DEFAULT_PROVIDER
    cause = yard.clouds.why_not_now(provider)
    if cause is not None:
        refused = yard.clouds.why_refused(provider) is not None
        again = iso_or_none(yard.clouds.retry_at.get(provider))
        when = f" (it is asked again at {again})" if again else ""
        yield Reason(
            code=ReasonCode.PROVIDER_DOWN,
            text=f"The provider {provider} takes no jobs: {cause.rstrip('.')}{when}.",
            detail={"provider": provider, "comes_back_by_itself": not refused, "retry_at": again},
            unblock=f"gpuyard cloud providers {'enable' if refused else 'test'} {provider}",
            never=refused,
        )
    yield from limit_reasons.of_cloud_job(yard, job)


def _processing_held() -> Reason:
    return Reason(
        code=ReasonCode.PROCESSING_HELD,
        text="A running job was cancelled; waiting jobs start with the next submit, job end or by hand.",
        unblock="gpuyard queue process",
        never=True,
    )


def _priority(yard: Yard, job: Job, now: Now) -> Reason:
    position = _place(yard, job, now)
    return Reason(
        code=ReasonCode.PRIORITY,
        text="Its turn comes next." if position == 1 else f"{position - 1} jobs stand before it.",
        detail={"position": position},
        unblock="gpuyard queue process",
    )


def _place(yard: Yard, job: Job, now: Now) -> int:
    """The position, or for a job that is not in the queue yet the next one."""
    return (yard.position(job, now) if job in yard.order else None) or len(yard.order) + 1


def _list(indices: list[int]) -> str:
    return ", ".join(map(str, indices)) or "none"
