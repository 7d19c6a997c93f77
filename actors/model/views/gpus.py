"""Answers about GPUs."""

from __future__ import annotations

from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.views.base import View


class GpuView(View, frozen=True, kw_only=True):
    """`worker_id`, its name and its state are those of the worker whose GPU it is, None for one of the server."""

    fact: GpuFact
    state: str
    job_id: str | None
    reason: str | None
    worker_id: str | None = None
    worker: str | None = None
    worker_state: str | None = None


class GpuPage(View, frozen=True, kw_only=True):
    """`gpus` are the server's own, `remote` those of the workers."""

    backend: str
    gpus: list[GpuView]
    running_local_jobs: int
    error: str | None = None
    remote: list[GpuView] = []
