"""One job across the seam: the Scheduler knows the active ones as they are now, History all as they were stored."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetJob, GetLive
from gpuyard.actors.model.errors import NotActive, NotFound, Unavailable, WrongState
from gpuyard.actors.model.job import TERMINAL
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import Entry, JobRecord, LiveJob
from gpuyard.api.core import Core

_JOB_ID = re.compile(r"[0-9a-z-]{1,64}")


def check_id(job_id: str) -> str:
    """Raises NotFound for what can be no job's id."""
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound("there is no such job: an id has only small letters and digits")
    return job_id


async def stored(core: Core, viewer: Viewer, job_id: str) -> JobRecord:
    """The job as History has it; `job_id` may be a prefix that is unique among those one sees. Raises NotFound."""
    only = None if viewer.is_lead else viewer.user_id
    record: JobRecord = await core.ask(names.HISTORY, GetJob(job_id=check_id(job_id), prefix=True, user_id=only))
    require_sight(viewer, record.entry)
    return record


def require_sight(viewer: Viewer, entry: Entry) -> None:
    """To whom may not see this job it does not exist: raises NotFound."""
    if not viewer.may_see(entry.user_id):
        raise NotFound(f"there is no job {entry.job_id}")


async def current(core: Core, viewer: Viewer, job_id: str) -> JobRecord:
    """The job as it is now: stored, with the live entry laid over when it is active."""
    record = await stored(core, viewer, job_id)
    for fresh in await refreshed(core, [record]):
        return fresh
    raise NotFound(f"there is no job {job_id} any more")


async def refreshed(core: Core, records: list[JobRecord]) -> list[JobRecord]:
    """`records` with live entries laid over the active ones.

    What ended between the two looks is read from History again; what was deleted meanwhile is left out.
    """
    active = tuple(record.entry.job_id for record in records if record.entry.status not in TERMINAL)
    if not active:
        return records
    jobs: list[LiveJob] = await core.ask(names.SCHEDULER, GetLive(job_ids=active))
    live = {job.entry.job_id: job for job in jobs}
    found = []
    for record in records:
        job_id = record.entry.job_id
        if job_id in live:
            found.append(_laid_over(record, live[job_id]))
        elif record.entry.status in TERMINAL:
            found.append(record)
        else:
            try:
                found.append(await core.ask(names.HISTORY, GetJob(job_id=job_id)))
            except NotFound:
                continue
    return found


def _laid_over(record: JobRecord, live: LiveJob) -> JobRecord:
    """What the store does not know yet: the Scheduler's entry and live attempt."""
    attempts = record.attempts
    if live.attempt is not None:
        attempts = [one for one in attempts if one.fence != live.attempt.fence] + [live.attempt]
    return msgspec.structs.replace(record, entry=live.entry, attempts=attempts)


async def act(core: Core, viewer: Viewer, job_id: str, message: Message) -> Any:
    """Ask the Scheduler to do something to an active job.

    Raises what the Scheduler raises; for a job that is not active NotFound, or WrongState when it has ended.
    """
    check_id(job_id)
    try:
        return await core.ask(names.SCHEDULER, message)
    except NotActive:
        record: JobRecord = await core.ask(names.HISTORY, GetJob(job_id=job_id))
        require_sight(viewer, record.entry)
        status = record.entry.status
        if status not in TERMINAL:
            raise Unavailable(f"job {job_id} is changing just now: try again shortly") from None
        raise WrongState(f"job {job_id} has ended already: it is {status}", status=status) from None
