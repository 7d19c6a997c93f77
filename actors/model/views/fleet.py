"""Answers about workers."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class WorkerView(View, frozen=True, kw_only=True):
    id: str
    name: str
    status: str
