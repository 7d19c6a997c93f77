"""Answers about workers."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class WorkerView(View, frozen=True, kw_only=True):
    """A worker as everybody sees it (CONTRACT `GET /api/admin/workers`).

    `gpu_count`, `gpu_name` (of the first one) and `gpu_vram_gb` (of the smallest, in GiB) are what it last told; None
    before that. `labels` are those of its enrolment with its own over them. `why` says why it gets no work, `address`
    is where it speaks from, `orphans` are runs there that no job of this database stands for, `unreachable` the jobs
    of which nobody can say whether they live. `clock_ahead_seconds` is how far its clock is ahead of the server's (less
    than 0: behind), None where it is right: the times of its runs are put right by it.
    """

    id: str
    name: str
    status: str
    worker_type: str = "persistent"
    gpu_count: int | None = None
    gpu_name: str | None = None
    gpu_vram_gb: float | None = None
    labels: dict[str, str] = {}
    current_job_id: str | None = None
    current_job_ids: list[str] = []
    last_heartbeat: str | None = None
    connected_at: str | None = None
    enrolled_at: str | None = None
    drained: bool = False
    max_jobs: int | None = None
    cpu_count: int | None = None
    version: str | None = None
    address: str | None = None
    why: str | None = None
    unreachable: list[str] = []
    orphans: list[OrphanView] = []
    clock_ahead_seconds: float | None = None


class OrphanView(View, frozen=True, kw_only=True):
    """A run that lives on a worker and that this database does not want: it is left alone."""

    fence: int
    job_id: str
    pid: int


class WorkerEnrolled(View, frozen=True, kw_only=True):
    """`token` is shown this once; `command` is the line that starts the worker with it."""

    worker: WorkerView
    token: str
    endpoint: str
    command: str

    def __repr__(self) -> str:
        return f"WorkerEnrolled(worker={self.worker.id!r}, endpoint={self.endpoint!r}, token=…, command=…)"
