"""What the limits still leave: small questions that policy, reservations and reasons share."""

from __future__ import annotations

from gpuyard.actors.model.job import Job
from gpuyard.actors.model.shapes import Cause, Pool
from gpuyard.actors.model.yard import Yard


def gpu_slots(yard: Yard) -> int:
    """How many more local GPU jobs `local_job_max_concurrent` lets run."""
    return yard.limits.local_job_max_concurrent - len(yard.running[Pool.GPU])


def gpu_allowance(yard: Yard) -> float:
    """How many more GPUs `local_gpu_max_concurrent` lets be used."""
    cap = yard.limits.local_gpu_max_concurrent
    return float("inf") if cap is None else cap - yard.local_gpus_used


def over_user_gpus(yard: Yard, job: Job) -> bool:
    """Would `job` take its user above `user_max_gpus`?"""
    cap, need = yard.limits.user_max_gpus, job.spec.num_processes
    return cap is not None and need > 0 and yard.gpus_of_user[job.user_id] + need > cap


def cloud_block(yard: Yard, job: Job) -> Cause | None:
    """The user or team limit that `job` would break (requirement "Fair-Share Scheduling", steps 2 and 3)."""
    limits = yard.limits
    if yard.cloud_of_user[job.user_id] >= limits.user_max_concurrent:
        return ("user", str(job.user_id))
    team = job.team_id
    if limits.enable_fair_share and team is not None and yard.cloud_of_team[team] >= limits.team_max_concurrent:
        return ("team", team)
    return None
