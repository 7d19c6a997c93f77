"""Heartbeats within bounds. Whoever holds a worker's key may be broken, or hostile: what would not fit the database, or
would cost the server too much, is refused as a whole, since no worker of ours says such a thing."""

from __future__ import annotations

from typing import Final

from gpuyard.actors.model import bounds
from gpuyard.actors.model.wire import Heartbeat, Report

MOST_RUNS: Final = 1_000
MOST_GPUS: Final = 256
NAME: Final = 256
TEXT: Final = 4_000
WHOLE: Final = 1 << 53
CODE: Final = 1 << 31
LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999 (epoch seconds)."""


def wrong(beat: Heartbeat) -> str:
    """What is wrong with it, in words; empty when nothing is."""
    if max(map(len, (beat.session, beat.incarnation, beat.journal, beat.db_id, beat.name))) > NAME:
        return "a name is too long"
    if max(len(beat.version), len(beat.backend)) > NAME or len(beat.error or "") > TEXT:
        return "a text is too long"
    if not (0 <= beat.n < WHOLE and 0 <= beat.life < WHOLE and abs(beat.sent_at) < LATEST and 0 <= beat.wall < LATEST):
        return "a number is out of bounds"
    if len(beat.attempts) > MOST_RUNS or len(beat.gpus) > MOST_GPUS:
        return f"it reports more than {MOST_RUNS} runs or {MOST_GPUS} GPUs"
    if any(map(_wild, beat.attempts.values())):
        return "a report is out of bounds"
    try:
        bounds.labels(beat.labels)
    except ValueError as error:
        return f"its labels {error}"
    return ""


def _wild(report: Report) -> bool:
    times = (report.started_at, report.ended_at)
    return (
        not 0 <= report.pid < CODE
        or not -CODE < (report.exit_code or 0) < CODE
        or any(at is not None and not 0 <= at < LATEST for at in times)
        or max(map(len, (report.phase, report.job_id, report.spec_hash, report.exit_class or ""))) > NAME
        or len(report.message) > TEXT
        or len(report.uuids) > MOST_GPUS
        or any(len(uuid) > NAME for uuid in report.uuids)
    )
