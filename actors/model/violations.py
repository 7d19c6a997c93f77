"""What must hold of the yard, whatever happens: its invariants, checked one by one (by tests; never on a hot path)."""

from __future__ import annotations

from gpuyard.actors.model.job import Status
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.yard import Yard


def violations(yard: Yard) -> list[str]:
    """What is wrong with the state itself; empty when all invariants hold."""
    wrong: list[str] = []
    pending = [j for j in yard.jobs.values() if j.status is Status.PENDING]
    running = [j for j in yard.jobs.values() if j.status is Status.RUNNING]
    if len(yard.order) != len(pending) or any(j not in yard.order for j in pending):
        wrong.append("the order does not hold exactly the pending jobs")
    if {j.job_id for j in running} != set(yard.attempt_of):
        wrong.append("running jobs and live attempts differ")
    for status, members in ((Status.PENDING, pending), (Status.RUNNING, running)):
        if yard.counts[status] != len(members):
            wrong.append(f"counts[{status}] is {yard.counts[status]}, not {len(members)}")
    if sum(len(members) for members in yard.running.values()) != len(running):
        wrong.append("running jobs are not each in one pool")
    for ledger in (yard.ledger, *(host.ledger for host in yard.hosts.with_holds())):
        for uuid, hold in ledger.holds.items():
            if hold.fence not in yard.attempts:
                wrong.append(f"GPU {uuid} of {hold.host} is held by the unknown fence {hold.fence}")
    used = sum(j.spec.num_processes for j in yard.running[Pool.GPU].values())
    if used != yard.local_gpus_used:
        wrong.append(f"{yard.local_gpus_used} local GPUs counted as used, {used} are")
    if any(job.status is not Status.PENDING or job.held for job in yard.orphans.kept.values()):
        wrong.append("a job is kept back that does not wait")
    return wrong
