"""The audit: who did what, when, why; as JSON or as a table for spreadsheets."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from gpuyard.actors.model import bounds, names, spreadsheet
from gpuyard.actors.model.commands import ListAudit
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.views import AuditEntry, AuditPage
from gpuyard.api.answers_people import AuditList
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse

router = APIRouter(prefix="/api/audit", tags=["people"])

COLUMNS = (
    "at", "user_id", "username", "token_id", "address", "action", "job_id", "subject", "detail", "cause", "id",
)  # fmt: skip
# A page looks at a bounded piece of the story; one answer looks at several, as long as this.
SECONDS = 2.0

Moment = Annotated[str | None, Query(max_length=64, description="ISO-8601 time or epoch seconds.")]


@router.get("", operation_id="read_audit", responses=answer("read_audit", AuditList, table=True))
async def read_audit(
    core: CoreDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str, Query(max_length=64, description="Where the page before ended.")] = "",
    user_id: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Who did it.")] = None,
    username: Annotated[str | None, Query(max_length=128, description="Who did it.")] = None,
    action: Annotated[str | None, Query(max_length=400, description="What was done; a comma list.")] = None,
    job_id: Annotated[str | None, Query(max_length=64)] = None,
    since: Moment = None,
    until: Moment = None,
    format: Annotated[Literal["json", "csv"], Query(description="csv is safe to open in a spreadsheet.")] = "json",
) -> Response:
    """What people did, newest first: to jobs, limits, users, tokens, GPUs, rules. Lines are never changed or deleted.

    `before` of an answer leads to its next page; a page may be short, or even empty, and yet have a next one.
    """
    question = ListAudit(
        before=before,
        limit=limit,
        user_id=user_id,
        username=username,
        actions=tuple(word for word in (action or "").split(",") if word),
        job_id=job_id,
        since=_moment("since", since),
        until=_moment("until", until),
    )
    page = await _page(core, question)
    if format == "csv":
        text = spreadsheet.table(COLUMNS, [_row(entry) for entry in page.entries])
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        if page.before is not None:
            headers["X-Next-Before"] = page.before
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
    return JsonResponse(AuditList(entries=page.entries, before=page.before))


async def _page(core: Core, question: ListAudit) -> AuditPage:
    """As full as the time allows."""
    entries: list[AuditEntry] = []
    deadline = time.monotonic() + SECONDS
    while True:
        rest = msgspec.structs.replace(question, limit=question.limit - len(entries))
        page: AuditPage = await core.ask(names.HISTORY, rest)
        entries += page.entries
        if len(entries) >= question.limit or page.before is None or time.monotonic() > deadline:
            return AuditPage(entries=entries, before=page.before)
        question = msgspec.structs.replace(question, before=page.before)


def _row(entry: AuditEntry) -> list[spreadsheet.Value]:
    values = msgspec.structs.asdict(entry) | {"detail": msgspec.json.encode(entry.detail).decode()}
    return [values[name] for name in COLUMNS]


def _moment(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return bounds.moment(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise InvalidInput(f"{name} {error}", field=name) from None
