"""Usage: the sums are those of the attempts, whatever midnight they run over and however they are asked for."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gpuyard.actors.model import ask, usage
from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.commands import GetLiveUsage
from gpuyard.actors.model.commit import AddUsage
from gpuyard.actors.model.job import Job, JobSpec
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.usage import KEYS, PERIODS, Key, LiveRun, Period
from tests.unit.core.world import World

PEOPLE = [
    Viewer(user_id=2, username="ann", level=Level.RESEARCHER, team_id="red"),
    Viewer(user_id=3, username="bob", level=Level.RESEARCHER, team_id="blue"),
    Viewer(user_id=4, username="cy", level=Level.LEAD),
]
T0 = 1_700_000_000.0
moments = st.floats(T0, T0 + 40 * 86_400, allow_nan=False).map(lambda at: round(at, 3))


@given(moments, moments)
def test_the_shares_of_the_days_are_the_whole_time(one: float, other: float) -> None:
    started, ended = sorted((one, other))
    parts = usage.shares(started, ended)
    assert sum(parts.values()) == round(ended * 1000) - round(started * 1000)
    assert all(0 < part <= usage.DAY_MS for part in parts.values())
    days = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in (started, ended)]
    assert all(days[0] <= day <= days[1] for day in parts)
    assert usage.shares(ended, started) == {}


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["submit", "submit", "start", "end", "lose", "cancel", "wait", "restart"]),
            st.integers(0, 3),
            st.integers(1, 200_000),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=80)
def test_the_sum_of_usage_is_the_sum_of_the_attempts(steps: list[tuple[str, int, int]]) -> None:
    world = World(gpus=4, local_job_max_concurrent=4, local_cpu_job_max_concurrent=2)
    for step, number, seconds in steps:
        world.clock.advance(seconds / 7)
        act(world, step, number)
    now = world.clock.now()
    asked = ask.live_usage(world.yard, GetLiveUsage(), world.now())
    rows = [AddUsage(*key, **sums) for key, sums in world.store.usage.items()]
    live = [run for run in asked if run.fence in world.live]
    assert len(live) == len(asked)
    for period in PERIODS:
        lines = usage.report(rows, live, now, period, KEYS)
        assert sum(line.gpu_ms for line in lines) == sum(gpu_ms(world, attempt, now) for attempt in attempts(world))
        ended = [attempt for attempt in attempts(world) if attempt.ended_at is not None]
        assert sum(line.runs for line in lines) == len(ended)
    for person in PEOPLE:
        mine = [a for a in attempts(world) if world.store.jobs[a.job_id].user_id == person.user_id]
        [line] = [
            line for line in usage.report(rows, live, now, "total", ("user",)) if line.user_id == person.user_id
        ] or [None]
        assert (line.gpu_ms if line else 0) == sum(gpu_ms(world, attempt, now) for attempt in mine)


def attempts(world: World) -> list[Attempt]:
    return list(world.store.attempts.values())


def gpu_ms(world: World, attempt: Attempt, now: float) -> int:
    """GPU milliseconds of an attempt, from its row alone."""
    if attempt.started_at is None:
        return 0
    end = attempt.ended_at if attempt.ended_at is not None else now
    took = max(0, round(end * 1000) - round(attempt.started_at * 1000))
    return took * world.store.jobs[attempt.job_id].spec.num_processes


def act(world: World, step: str, number: int) -> None:
    running = world.running()
    match step:
        case "submit":
            world.submit(number, by=PEOPLE[number % 3])
        case "start" if running:
            world.report_start(running[number % len(running)])
        case "end" if running:
            world.end(running[number % len(running)])
        case "lose" if running:
            world.end(running[number % len(running)], "lost", None)
        case "cancel" if running:
            world.cancel(running[number % len(running)])
        case "restart":
            world.restart()
        case _:
            pass


def test_a_run_over_midnight_is_shared_between_its_days_and_counted_on_its_last() -> None:
    job = Job(id=1, job_id="a", user_id=2, spec=JobSpec(num_processes=2), seq=1, queued_at=T0, ranked_at=T0)
    midnight = (T0 // 86_400 + 1) * 86_400
    attempt = Attempt(
        fence=1, job_id="a", number=1, assigned_at=midnight - 60, started_at=midnight - 30, ended_at=midnight + 10.5
    )
    first, second = usage.of_attempt(job, attempt, midnight + 11)
    assert (first.day < second.day, first.run_ms, second.run_ms) == (True, 30_000, 10_500)
    assert (first.gpu_ms, second.gpu_ms) == (60_000, 21_000)
    assert (first.runs, second.runs, first.team_id, first.place) == (0, 1, "", "local")


def test_a_program_that_never_lived_used_nothing_and_is_one_run() -> None:
    job = Job(id=1, job_id="a", user_id=2, team_id="red", spec=JobSpec(), seq=1, queued_at=T0, ranked_at=T0)
    attempt = Attempt(fence=1, job_id="a", number=1, host="w1", assigned_at=T0, ended_at=T0 + 5)
    [row] = usage.of_attempt(job, attempt, T0 + 5)
    assert (row.runs, row.run_ms, row.gpu_ms, row.team_id, row.place) == (1, 0, 0, "red", "worker")


@pytest.mark.parametrize(("started", "ended"), [(0.0, T0), (T0 - 10**8, T0 + 10**9)])
def test_a_host_that_lies_about_the_time_is_cut(started: float, ended: float) -> None:
    job = Job(id=1, job_id="a", user_id=2, spec=JobSpec(), seq=1, queued_at=T0, ranked_at=T0)
    attempt = Attempt(fence=1, job_id="a", number=1, host="w1", assigned_at=T0, started_at=started, ended_at=ended)
    rows = list(usage.of_attempt(job, attempt, T0))
    assert len(rows) <= 4 and sum(row.run_ms for row in rows) <= 2 * usage.DAY_MS


@pytest.mark.parametrize(
    ("period", "label"),
    [("day", "2024-12-30"), ("week", "2025-W01"), ("month", "2024-12"), ("total", "total")],
)
def test_periods_have_names(period: Period, label: str) -> None:
    assert usage.period_of("2024-12-30", period) == label


@pytest.mark.parametrize("keys", [(), ("user",), ("team",), ("user", "team"), ("place", "user", "team")])
def test_however_it_is_grouped_the_sum_is_the_same(keys: tuple[Key, ...]) -> None:
    rows = [
        AddUsage("2026-11-01", 2, "red", "local", 1, 10, 20),
        AddUsage("2026-11-02", 2, "red", "worker", 1, 10, 30),
        AddUsage("2026-12-02", 3, "", "local", 1, 10, 40),
    ]
    now = datetime(2026, 12, 3, tzinfo=UTC).timestamp()
    live = [LiveRun(fence=1, user_id=3, team_id="blue", place="local", gpus=4, started_at=now - 1)]
    lines = usage.report(rows, live, now, "month", keys)
    assert sum(line.gpu_ms for line in lines) == 4_090
    assert [line.period for line in lines] == sorted(line.period for line in lines)
    assert sum(line.running for line in lines) == 1
