"""Following a log that lies on a worker which comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetJob, GetLastEvent, GetLive, ReadLog
from gpuyard.actors.model.errors import Busy, GpuyardError, Unavailable
from gpuyard.actors.model.views import AttemptView, Entry, JobRecord, LogChunk
from tests.answering import Cast
from tests.unit.transport.samples import sample

LOG = b"step 1\nstep 2\n"
AWAY = Unavailable("this log lies on worker w1, which is not connected: try again when it is back")


def job(ended: bool) -> JobRecord:
    status = "completed" if ended else "running"
    entry = replace(sample(Entry), job_id="j1", user_id=1, status=status)
    attempt = replace(
        sample(AttemptView), fence=7, number=1, host="w1", ended_at="2026-01-01T00:00:00Z" if ended else None
    )
    return JobRecord(entry=entry, attempts=[attempt])


def play(actors: Cast, read: Callable[[ReadLog], Any], ended: Callable[[], bool]) -> None:
    actors.play(names.HISTORY, {GetLastEvent: (0, 0), GetEvents: [], GetJob: lambda _: job(ended())})
    actors.play(names.SCHEDULER, {GetLive: []})
    actors.play(names.LOGS, {ReadLog: read})


def piece(message: ReadLog) -> LogChunk:
    start = message.offset if message.offset is not None else max(0, len(LOG) - message.limit)
    data = LOG[start : start + message.limit]
    return LogChunk(data=data, offset=start, end=start + len(data), size=len(LOG))


@pytest.mark.parametrize("error", [AWAY, Busy("8 pieces are on their way")])
def test_a_follower_waits_while_the_worker_is_away(api: TestClient, actors: Cast, error: GpuyardError) -> None:
    asked: list[ReadLog] = []

    def read(message: ReadLog) -> LogChunk:
        asked.append(message)
        if len(asked) < 4:
            raise type(error)(error.detail)
        return piece(message)

    play(actors, read, ended=lambda: len(asked) > 5)
    text = api.get("/api/jobs/j1/logs/stream").text
    assert [line for line in text.splitlines() if line.startswith("data")] == [
        "data: step 1",
        "data: step 2",
        "data: completed",
    ]
    assert {message.host for message in asked} == {"w1"} and len(asked) > 4


def test_the_stream_of_a_job_that_has_ended_ends_though_its_worker_is_gone(api: TestClient, actors: Cast) -> None:
    play(actors, always_away, ended=lambda: True)
    assert "event: done\ndata: completed" in api.get("/api/jobs/j1/logs/stream").text


def test_the_tail_of_a_log_that_is_out_of_reach_says_where_it_lies(api: TestClient, actors: Cast) -> None:
    play(actors, always_away, ended=lambda: False)
    answer = api.get("/api/jobs/j1/logs")
    assert answer.status_code == 503 and "lies on worker w1" in answer.json()["detail"]
    assert answer.headers["retry-after"]


def always_away(_: ReadLog) -> LogChunk:
    raise Unavailable(AWAY.detail)
