"""Submit: one job, or a list of them in one transaction."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Body, Depends, Query, Request
from starlette.responses import Response

from gpuyard.actors.model import bounds, names
from gpuyard.actors.model.commands import GetJob, RecallKey, SubmitJobs
from gpuyard.actors.model.errors import InvalidInput, NotFound
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import JobAccepted, JobRecord, JobRefused
from gpuyard.api import submission
from gpuyard.api.answers import Submitted
from gpuyard.api.configs import configs_of
from gpuyard.api.core import Core
from gpuyard.api.deps import core_of, settings_of, viewer_of
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.routes.params import IDEMPOTENCY_KEY, KEY_MEANING
from gpuyard.api.schemas.submit import SubmitBody, openapi_body, parse
from gpuyard.api.settings import Settings

router = APIRouter(tags=["queue"])

AnyBody = Annotated[Any, Body()]
Reply = JobAccepted | JobRefused


# The routes read this header themselves.
KEY_HEADER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "description": KEY_MEANING,
    "schema": {"type": "string"},
}
DOCUMENTED = openapi_body() | {"parameters": [KEY_HEADER]}


class Asked(NamedTuple):
    """What a submit needs to know of its request."""

    core: Core
    viewer: Viewer
    settings: Settings
    key: str | None


async def _asked(request: Request) -> Asked:
    """One dependency, since each one costs FastAPI as much as the submit's own work (tools/bench/submit.py)."""
    return Asked(core_of(request), viewer_of(request), settings_of(request), request.headers.get(IDEMPOTENCY_KEY))


AskedDep = Annotated[Asked, Depends(_asked)]


@router.post(
    "/api/queue/submit",
    operation_id="submit_job",
    responses=answer("submit_job", Submitted, listed=True),
    openapi_extra=DOCUMENTED,
)
async def submit_job(asked: AskedDep, body: AnyBody) -> Response:
    """Put a job in the queue. Answered after the first placement decision: running, queued, blocked or rejected.

    A list is one transaction and answers a list; a known Idempotency-Key of a list answers the jobs it began.
    """
    return await _submit(asked, parse(body), body)


@router.post(
    "/api/cloud/jobs/submit",
    operation_id="submit_cloud_job",
    responses=answer("submit_cloud_job", Submitted, listed=True),
    openapi_extra=DOCUMENTED,
)
async def submit_cloud_job(
    asked: AskedDep,
    body: AnyBody,
    provider: Annotated[str | None, Query(pattern=bounds.PROVIDER, max_length=64)] = None,
) -> Response:
    """Submit with target cloud."""
    parsed = parse(body)
    one = [_for_cloud(item, provider) for item in (parsed if isinstance(parsed, list) else [parsed])]
    return await _submit(asked, one if isinstance(parsed, list) else one[0], body, "cloud", provider)


def _for_cloud(body: SubmitBody, provider: str | None) -> SubmitBody:
    if body.target not in (None, Target.CLOUD):
        raise InvalidInput(f"target must be cloud here, not {body.target}", field="target")
    return body.model_copy(update={"target": Target.CLOUD, "provider": provider or body.provider})


async def _submit(asked: Asked, parsed: SubmitBody | list[SubmitBody], *whole: Any) -> Response:
    """`whole` is all that the Idempotency-Key stands for."""
    core, viewer, settings, key = asked
    bodies = parsed if isinstance(parsed, list) else [parsed]
    key = submission.check_key(key)
    digest = submission.digest(*whole) if key is not None else ""
    submission.check_level(viewer, bodies)
    configs = configs_of(settings.configs_dir, settings.launch_command)
    found = await submission.read_configs(configs, bodies)
    specs = [await submission.wanted_of(core, viewer, body, configs, found, settings.time_zone) for body in bodies]
    if isinstance(parsed, list):
        replies = await _many(core, viewer, list(zip(bodies, specs, strict=True)), key, digest)
    else:
        replies = [await _one(core, viewer, parsed, specs[0], key, digest)]
    answers = []
    for index, reply in enumerate(replies):
        dry = index < len(bodies) and bodies[index].dry_run
        answers.append(submission.submitted(await _present(core, reply), dry_run=dry))
    return JsonResponse(answers if isinstance(parsed, list) else answers[0])


async def _one(
    core: Core, viewer: Viewer, body: SubmitBody, spec: submission.Wanted, key: str | None, digest: str
) -> Reply:
    if isinstance(spec, JobRefused):
        known = await _recall(core, viewer, key, digest)
        return known[0] if known else spec
    reply: Reply = await core.ask(names.SCHEDULER, submission.command(body, spec, viewer, key, digest))
    return reply


async def _many(
    core: Core,
    viewer: Viewer,
    wanted: list[tuple[SubmitBody, submission.Wanted]],
    key: str | None,
    digest: str,
) -> list[Reply]:
    """Replies in the order of the list; for a known key the jobs it began."""
    jobs = tuple(submission.command(body, spec, viewer) for body, spec in wanted if not isinstance(spec, JobRefused))
    if len(jobs) < len(wanted) and (known := await _recall(core, viewer, key, digest)):
        return list(known)
    replies: list[Reply] = []
    if jobs:
        message = SubmitJobs(jobs=jobs, by=viewer, idempotency_key=key, digest=digest)
        replies = await core.ask(names.SCHEDULER, message, timeout=60.0)
    if any(isinstance(reply, JobAccepted) and reply.idempotent_hit for reply in replies):
        return replies
    decided = iter(replies)
    return [spec if isinstance(spec, JobRefused) else next(decided) for _, spec in wanted]


async def _recall(core: Core, viewer: Viewer, key: str | None, digest: str) -> list[JobAccepted]:
    """What this key began, when a config that it named has gone since."""
    if key is None:
        return []
    return await core.ask(names.SCHEDULER, RecallKey(key=key, digest=digest, by=viewer)) or []


async def _present(core: Core, reply: Reply) -> Reply:
    """A repeated key may stand for a job that has ended: History knows how."""
    if isinstance(reply, JobRefused) or reply.status is not None or reply.job_id is None:
        return reply
    try:
        record: JobRecord = await core.ask(names.HISTORY, GetJob(job_id=reply.job_id))
    except NotFound:
        return reply  # deleted since
    return msgspec.structs.replace(reply, status=record.entry.status)
