"""The small world with workers: hosts that register, beat, fall silent, are drained and go, as the registry says."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from gpuyard.actors.model import host_news
from gpuyard.actors.model.commands import WantRun
from gpuyard.actors.model.events import WorkerFact, WorkerFacts
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.job import Job, Target
from tests.unit.core.world import World


class FleetWorld(World):
    """`workers` are the newest facts by id; a worker's id is its name."""

    def __init__(self, gpus: int = 0, at_once: bool = True, **limits: Any) -> None:
        self.workers: dict[str, WorkerFact] = {}
        self._order = itertools.count(1)
        self._told = itertools.count(1)
        super().__init__(gpus, at_once, **limits)
        self.tell_workers()

    def tell_workers(self, *ids: str, gone: tuple[str, ...] = ()) -> None:
        """What the registry says: of all workers, or only of those named and gone."""
        for worker_id in gone:
            self.workers.pop(worker_id)
        chosen = [self.workers[worker_id] for worker_id in ids] if ids or gone else list(self.workers.values())
        facts = WorkerFacts(revision=next(self._told), workers=tuple(chosen), partial=bool(ids or gone), gone=gone)
        self.do(lambda yard, now, out: host_news.workers_changed(yard, facts, now, out))

    def worker(
        self, name: str, gpus: int = 4, memory_gb: int = 80, labels: dict[str, str] | None = None, **more: Any
    ) -> str:
        """A worker registers and is heard."""
        cards = tuple(
            GpuFact(uuid=f"{name}-{i}", index=i, name="SIM", memory_total=memory_gb * 10**9) for i in range(gpus)
        )
        fields = {"state": "idle", "at_once": True, "cpu_count": 2, **more}
        self.workers[name] = WorkerFact(
            worker_id=name,
            name=name,
            order=next(self._order),
            gpus=gpus,
            facts=cards,
            labels=labels or {},
            observed_at=self.clock.monotonic(),
            heard_at=self.clock.now(),
            **fields,
        )
        self.tell_workers(name)
        return name

    def worker_says(self, name: str, **changes: Any) -> None:
        """A heartbeat: its facts are of now."""
        heard = {"observed_at": self.clock.monotonic(), "heard_at": self.clock.now()}
        self.workers[name] = msgspec.structs.replace(self.workers[name], **{**heard, **changes})
        self.tell_workers(name)

    def registry_says(self, name: str, **changes: Any) -> None:
        """Something that the registry knows without having heard the worker."""
        self.workers[name] = msgspec.structs.replace(self.workers[name], **changes)
        self.tell_workers(name)

    def end(self, job_id: str, exit_class: str = "completed", exit_code: int | None = 0) -> None:
        """As anywhere; a worker with real GPUs says later that they are empty (`empty`)."""
        attempt = self.yard.attempt_of[job_id]
        fact = self.workers.get(attempt.host)
        if fact is not None and not fact.at_once and attempt.gpus:
            self.releasing[attempt.fence] = tuple(gpu.uuid for gpu in attempt.gpus)
        super().end(job_id, exit_class, exit_code)

    def delete(self, name: str) -> None:
        """The worker is no more; its runs are lost."""
        self.tell_workers(gone=(name,))
        for job_id, attempt in list(self.yard.attempt_of.items()):
            if attempt.host == name:
                self.end(job_id, "lost", None)
        for fence in [f for f, uuids in self.releasing.items() if uuids and uuids[0].startswith(f"{name}-")]:
            del self.releasing[fence]

    def restart(self) -> None:
        super().restart()
        self.tell_workers()

    def host(self, job_id: str) -> str:
        return self.yard.attempt_of[job_id].host

    def check_start_elsewhere(self, want: WantRun, job: Job) -> None:
        """The facts of that worker, and the limits, allowed this start there."""
        fact, spec = self.workers[want.host], job.spec
        assert spec.target in (Target.AUTO, Target.WORKER)
        assert fact.state in ("idle", "busy") and fact.takes_work, f"{fact} takes no work"
        assert self.clock.monotonic() - fact.observed_at <= fact.fresh_seconds, "it was heard lately"
        assert all(
            name in fact.labels and fnmatchcase(fact.labels[name], glob) for name, glob in spec.worker_labels.items()
        )
        there = [other for other in self.yard.attempt_of.values() if other.host == want.host]
        assert fact.max_jobs is None or len(there) <= fact.max_jobs
        assert want.run.gpus or sum(not other.gpus for other in there) <= max(1, fact.cpu_count)
        gpus = {gpu.uuid: gpu for gpu in fact.facts}
        assert all(gpus[gpu.uuid].usable for gpu in want.run.gpus)
        assert all(gpus[gpu.uuid].memory_total >= spec.gpu_memory for gpu in want.run.gpus)
        assert not want.run.gpus or self.yard.gpus_of_user[job.user_id] <= (self.yard.limits.user_max_gpus or 1024)
        forever = spec.partition_policy == "hold"
        assert want.lease_seconds == (None if forever else spec.lease_seconds or self.yard.lease_seconds)
