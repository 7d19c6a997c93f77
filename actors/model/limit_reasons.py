"""Reasons that are limits: which one a job would break, who uses it up, and which value would let it start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpuyard.actors.model import caps
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.limits import BOUNDS
from gpuyard.actors.model.reasons import BLOCKING_SHOWN, Reason, ReasonCode
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.yard import Yard


def of_gpu_job(yard: Yard, job: Job, place: int) -> Iterator[Reason]:
    """`place` is the job's position (or the one that it would get): as many slots more would let it start."""
    limits, need = yard.limits, job.spec.num_processes
    running = yard.running[Pool.GPU].values()
    if caps.gpu_slots(yard) <= 0:
        most = limits.local_job_max_concurrent
        text = f"{len(running)} of at most {most} local GPU jobs run."
        wanted = len(running) + place
        yield _reached(
            ReasonCode.LOCAL_JOB_LIMIT, text, "local_job_max_concurrent", wanted, len(running), most, running
        )
    cap = limits.local_gpu_max_concurrent
    if cap is not None and need > caps.gpu_allowance(yard):
        used = yard.local_gpus_used
        text = f"{used} of at most {cap} GPUs are used by local jobs; it needs {need}."
        yield _reached(
            ReasonCode.LOCAL_GPU_LIMIT, text, "local_gpu_max_concurrent", used + need, used, cap, running, need
        )


def of_user(yard: Yard, job: Job) -> Iterator[Reason]:
    """The limit that binds a person over local and worker GPUs alike."""
    cap, need = yard.limits.user_max_gpus, job.spec.num_processes
    if cap is not None and caps.over_user_gpus(yard, job):
        used = yard.gpus_of_user[job.user_id]
        text = f"User {job.user_id} holds {used} of at most {cap} GPUs; it needs {need}."
        running = [*yard.running[Pool.GPU].values(), *yard.running[Pool.WORKER].values()]
        mine = [other for other in running if other.user_id == job.user_id and other.spec.num_processes]
        yield _reached(ReasonCode.USER_LIMIT, text, "user_max_gpus", used + need, used, cap, mine, need)


def of_cpu_job(yard: Yard, place: int) -> Iterator[Reason]:
    """`place` as in `of_gpu_job`."""
    running, most = yard.running[Pool.CPU].values(), yard.limits.local_cpu_job_max_concurrent
    if len(running) >= most:
        text = f"{len(running)} of at most {most} CPU jobs run."
        wanted = len(running) + place
        yield _reached(
            ReasonCode.LOCAL_JOB_LIMIT, text, "local_cpu_job_max_concurrent", wanted, len(running), most, running
        )


def of_cloud_job(yard: Yard, job: Job) -> Iterator[Reason]:
    """The three layers of the requirement: all, the user's, and with fair share the team's."""
    limits, running = yard.limits, yard.running[Pool.CLOUD].values()
    if len(running) >= limits.max_concurrent:
        text = f"{len(running)} of at most {limits.max_concurrent} cloud jobs run."
        yield _next(ReasonCode.GLOBAL_LIMIT, text, "max_concurrent", limits.max_concurrent, running)
    match caps.cloud_block(yard, job):
        case ("user", _):
            mine, most = [other for other in running if other.user_id == job.user_id], limits.user_max_concurrent
            text = f"User {job.user_id} runs {len(mine)} of at most {most} cloud jobs."
            yield _next(ReasonCode.USER_LIMIT, text, "user_max_concurrent", most, mine)
        case ("team", _):
            team, most = [other for other in running if other.team_id == job.team_id], limits.team_max_concurrent
            text = f"Team {job.team_id} runs {len(team)} of at most {most} cloud jobs."
            yield _next(ReasonCode.TEAM_LIMIT, text, "team_max_concurrent", most, team)


def _next(code: ReasonCode, text: str, limit: str, most: int, holders: Iterable[Job]) -> Reason:
    """A limit on jobs where one more would do."""
    number = len(list(holders))
    return _reached(code, text, limit, number + 1, number, most, holders)


def _reached(
    code: ReasonCode,
    text: str,
    limit: str,
    wanted: int,
    used: int,
    most: int,
    holders: Iterable[Job],
    need: int = 1,
) -> Reason:
    """`used` of `most` are taken by `holders`; with the limit at `wanted` the job would start."""
    value = min(wanted, int(BOUNDS[limit][1]))
    return Reason(
        code=code,
        text=text,
        detail={"used": used, "limit": most, "need": need},
        blocking_jobs=tuple(job.job_id for job in list(holders)[:BLOCKING_SHOWN]),
        unblock=f"gpuyard queue limits set {limit}={value}",
        never=need > most,
    )
