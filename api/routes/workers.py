"""Workers: machines elsewhere that run jobs. Enrolment, drain, tokens, deletion (CONTRACT `/api/admin/workers`)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import (
    AddWorker,
    DrainWorker,
    ListWorkers,
    RemoveWorker,
    RotateWorkerToken,
    StopOrphan,
)
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.views import WorkerEnrolled, WorkerView
from gpuyard.api.answers_workers import OrphanStopping, WorkerGone, WorkerList, WorkerToken
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.workers import NewWorkerBody, RotateBody

router = APIRouter(prefix="/api/admin/workers", tags=["workers"])

Worker = Annotated[str, Path(max_length=100, description="A worker's id, a unique beginning of it, or its name.")]


@router.get("", operation_id="list_workers", responses=answer("list_workers", WorkerList))
async def list_workers(core: CoreDep) -> Response:
    """All workers, in order of enrolment."""
    return JsonResponse(WorkerList(workers=await core.ask(names.WORKERS, ListWorkers())))


@router.get("/{worker}", operation_id="get_worker", responses=answer("get_worker", WorkerView))
async def get_worker(core: CoreDep, worker: Worker) -> Response:
    """One worker."""
    found: list[WorkerView] = await core.ask(names.WORKERS, ListWorkers(worker=worker))
    if not found:
        raise NotFound(f"there is no worker {worker}")
    return JsonResponse(found[0])


@router.post("", operation_id="add_worker", responses=answer("add_worker", WorkerToken))
async def add_worker(core: CoreDep, viewer: ViewerDep, body: NewWorkerBody) -> Response:
    """Enrol a worker. Its token is shown this once; without --zmq-bind no worker can connect, so that is 409."""
    message = AddWorker(name=body.name, worker_type=body.worker_type, labels=body.labels, by=viewer)
    return _enrolled(await core.ask(names.WORKERS, message))


@router.delete("/{worker}", operation_id="delete_worker", responses=answer("delete_worker", WorkerGone))
async def delete_worker(
    core: CoreDep,
    viewer: ViewerDep,
    worker: Worker,
    force: Annotated[bool, Query(description="Although it has jobs: they are lost, and tried elsewhere.")] = False,
) -> Response:
    """The worker is no more and its token is void. With jobs on it: 409 without `force`."""
    gone: WorkerView = await core.ask(names.WORKERS, RemoveWorker(worker=worker, force=force, by=viewer))
    return JsonResponse(WorkerGone(worker_id=gone.id, name=gone.name))


@router.post("/{worker}/drain", operation_id="drain_worker", responses=answer("drain_worker", WorkerView))
async def drain_worker(core: CoreDep, viewer: ViewerDep, worker: Worker) -> Response:
    """Give it no new job; those that it has go on. It stays so over heartbeats and restarts, until it is undrained."""
    return JsonResponse(await core.ask(names.WORKERS, DrainWorker(worker=worker, by=viewer)))


@router.post("/{worker}/undrain", operation_id="undrain_worker", responses=answer("undrain_worker", WorkerView))
async def undrain_worker(core: CoreDep, viewer: ViewerDep, worker: Worker) -> Response:
    """Give it jobs again; one that waits for it starts at once."""
    return JsonResponse(await core.ask(names.WORKERS, DrainWorker(worker=worker, drained=False, by=viewer)))


@router.post(
    "/{worker}/token", operation_id="rotate_worker_token", responses=answer("rotate_worker_token", WorkerToken)
)
async def rotate_worker_token(
    core: CoreDep, viewer: ViewerDep, worker: Worker, body: RotateBody | None = None
) -> Response:
    """A new token; jobs on the worker go on. The old one works until the new one connects, or for 24 h."""
    now = body is not None and body.now
    return _enrolled(await core.ask(names.WORKERS, RotateWorkerToken(worker=worker, now=now, by=viewer)))


@router.post(
    "/{worker}/orphans/{fence}/stop", operation_id="stop_orphan", responses=answer("stop_orphan", OrphanStopping)
)
async def stop_orphan(
    core: CoreDep, viewer: ViewerDep, worker: Worker, fence: Annotated[int, Path(ge=1, lt=1 << 63)]
) -> Response:
    """End a run that lives on a worker and that this database did not order: it lists them as `orphans`.

    Nothing else ever ends one. `local` is this machine. The answer comes before the run has ended.
    """
    host = await _host(core, worker)
    await core.ask(names.SCHEDULER, StopOrphan(host=host, fence=fence, by=viewer))
    return JsonResponse(OrphanStopping(worker_id=host, fence=fence))


async def _host(core: Core, worker: str) -> str:
    """A worker's id, or `local` where none is called so. Raises NotFound."""
    try:
        found: list[WorkerView] = await core.ask(names.WORKERS, ListWorkers(worker=worker))
    except NotFound:
        if worker != LOCAL_HOST:
            raise
        return LOCAL_HOST
    return found[0].id


def _enrolled(done: WorkerEnrolled) -> Response:
    return JsonResponse(
        WorkerToken(
            worker_id=done.worker.id,
            name=done.worker.name,
            token=done.token,
            connection_command=done.command,
            endpoint=done.endpoint,
            worker=done.worker,
        )
    )
