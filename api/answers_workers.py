"""What the routes of workers answer."""

from __future__ import annotations

from gpuyard.actors.model.views import WorkerView
from gpuyard.api.answers import Answer


class WorkerList(Answer, frozen=True, kw_only=True):
    """In order of enrolment."""

    workers: list[WorkerView]


class WorkerToken(Answer, frozen=True, kw_only=True):
    """`token` is shown this once and kept nowhere; `connection_command` is the line that starts the worker with it."""

    success: bool = True
    worker_id: str
    name: str
    token: str
    connection_command: str
    endpoint: str
    worker: WorkerView


class OrphanStopping(Answer, frozen=True, kw_only=True):
    """The run is told to end; `worker_id` is `local` for this machine."""

    success: bool = True
    worker_id: str
    fence: int


class WorkerGone(Answer, frozen=True, kw_only=True):
    success: bool = True
    worker_id: str
    name: str
