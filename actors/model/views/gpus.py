"""Answers about GPUs."""

from __future__ import annotations

from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.views.base import View


class GpuView(View, frozen=True, kw_only=True):
    fact: GpuFact
    state: str
    job_id: str | None
    reason: str | None


class GpuPage(View, frozen=True, kw_only=True):
    backend: str
    gpus: list[GpuView]
    running_local_jobs: int
    error: str | None = None
