"""Usage: GPU-hours by user, team, place and period."""

from __future__ import annotations

import time
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from gpuyard.actors.model import names, spreadsheet
from gpuyard.actors.model.clock import utc_day
from gpuyard.actors.model.commands import GetLiveUsage, GetUsage
from gpuyard.actors.model.errors import InvalidInput, NotAllowed
from gpuyard.actors.model.usage import DAY_MS, KEYS, Key, Line, LiveRun, report
from gpuyard.actors.model.views import UsageSums
from gpuyard.api.answers_usage import UsageLine, UsageReport
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse

router = APIRouter(prefix="/api/usage", tags=["usage"])

DAYS_SHOWN = 30
HOUR_MS = 3_600_000
COLUMNS = UsageLine.__struct_fields__


@router.get("", operation_id="get_usage", responses=answer("get_usage", UsageReport, table=True))
async def get_usage(
    core: CoreDep,
    viewer: ViewerDep,
    first: Annotated[str | None, Query(alias="from", max_length=10, description="The first UTC day.")] = None,
    last: Annotated[str | None, Query(alias="to", max_length=10, description="The last UTC day, included.")] = None,
    period: Literal["day", "week", "month", "total"] = "total",
    by: Annotated[str, Query(max_length=40, description="user, team, place: one or several with commas.")] = "user",
    user_id: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    team_id: Annotated[str | None, Query(max_length=64)] = None,
    format: Annotated[Literal["json", "csv"], Query(description="csv is safe to open in a spreadsheet.")] = "json",
) -> Response:
    """GPU-hours of ended runs and, up to now, of those that live; the last 30 days by default. Your own unless you are
    a lead or admin."""
    keys = _keys(by)
    if user_id is not None and not viewer.may_see(user_id):
        raise NotAllowed("you see your own usage only: ask a lead or an admin")
    user_id = user_id if viewer.is_lead else viewer.user_id
    now = time.time()
    end = _day(last, "to") or utc_day(now)
    start = _day(first, "from") or utc_day(max(0.0, now - (DAYS_SHOWN - 1) * DAY_MS / 1000))
    if start > end:
        raise InvalidInput(f"from {start} is after to {end}", field="from")
    live: list[LiveRun] = await core.ask(names.SCHEDULER, GetLiveUsage())
    live = [run for run in live if user_id in (None, run.user_id) and team_id in (None, run.team_id)]
    question = GetUsage(first=start, last=end, user_id=user_id, team_id=team_id, live=tuple(run.fence for run in live))
    sums: UsageSums = await core.ask(names.HISTORY, question)
    # What ended between the two looks stands in the sums already.
    alive = set(sums.live)
    found = report(sums.rows, (run for run in live if run.fence in alive), now, period, keys, (start, end))
    lines = [_line(line, sums.usernames) for line in found]
    if format == "csv":
        text = spreadsheet.table(COLUMNS, [[getattr(line, name) for name in COLUMNS] for line in lines])
        headers = {"Content-Disposition": 'attachment; filename="usage.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
    return JsonResponse(
        UsageReport(
            first=start,
            last=end,
            period=period,
            by=list(keys),
            lines=lines,
            runs=sum(line.runs for line in found),
            gpu_hours=_hours(sum(line.gpu_ms for line in found)),
        )
    )


def _line(line: Line, usernames: dict[int, str]) -> UsageLine:
    return UsageLine(
        period=line.period,
        user_id=line.user_id,
        username=usernames.get(line.user_id) if line.user_id is not None else None,
        team_id=line.team_id,
        place=line.place,
        runs=line.runs,
        running=line.running,
        run_hours=_hours(line.run_ms),
        gpu_hours=_hours(line.gpu_ms),
        gpu_seconds=line.gpu_ms / 1000,
    )


def _hours(milliseconds: int) -> float:
    return round(milliseconds / HOUR_MS, 4)


def _keys(text: str) -> tuple[Key, ...]:
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if any(word not in KEYS for word in words):
        raise InvalidInput(f"by must be among {', '.join(KEYS)}", field="by")
    return tuple(key for key in KEYS if key in words)


def _day(text: str | None, field: str) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidInput(f"{field} must be a day such as 2026-11-22", field=field) from None
