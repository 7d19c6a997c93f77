"""Queue windows: hours of a wall clock, held against the zone database, over the nights when the clocks change."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from gpuyard.actors.model import change, explain, windows
from gpuyard.actors.model.commands import HoldJob, PauseQueue, ProcessQueue, ReleaseJob, ResumeQueue
from gpuyard.actors.model.errors import InvalidInput, NotAllowed
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.pauses import pause, resume
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.views import JobAccepted, JobRefused
from gpuyard.actors.model.windows import Window
from gpuyard.api import zones
from tests.unit.core.world import World

ANN = Viewer(user_id=2, username="ann", level=Level.RESEARCHER)
YEAR = 1_767_225_600  # 2026 begins
# Half hours, half-hour summer time, a month without it in Ramadan, south of the equator, and none at all.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC"]
SPRING = 1_774_746_000  # 2026-03-29 01:00 UTC: in Berlin 02:00 becomes 03:00
AUTUMN = 1_792_890_000  # 2026-10-25 01:00 UTC: in Berlin 03:00 becomes 02:00

minutes = st.integers(0, 24 * 60 - 1)
times = st.integers(YEAR, YEAR + 3 * 365 * 86_400) | st.builds(
    lambda base, seconds: base + seconds, st.sampled_from([SPRING, AUTUMN]), st.integers(-7_200, 7_200)
)


@st.composite
def some_windows(draw: st.DrawFn) -> Window:
    opens, closes = draw(minutes), draw(minutes)
    closes = closes if closes != opens else (opens + 1) % (24 * 60)
    window = Window(opens=opens * 60, closes=closes * 60, zone=draw(st.sampled_from(ZONES)))
    return zones.resolved(window, "UTC", YEAR + 1)


def open_by_the_database(window: Window, at: float) -> bool:
    clock = datetime.fromtimestamp(at, ZoneInfo(window.zone))
    time = clock.hour * 3600 + clock.minute * 60 + clock.second
    if window.opens < window.closes:
        return window.opens <= time < window.closes
    return time >= window.opens or time < window.closes


@given(window=some_windows(), at=times)
def test_it_is_open_when_the_wall_clock_of_its_zone_says_so(window: Window, at: int) -> None:
    assert windows.is_open(window, at) is open_by_the_database(window, at)


@given(window=some_windows(), at=times)
def test_it_changes_next_when_it_says_and_not_before(window: Window, at: int) -> None:
    change = windows.changes_at(window, at)
    before = windows.is_open(window, at)
    assert change > at
    assert windows.is_open(window, change) is not before
    assert windows.is_open(window, change - 1) is before
    step = max(1, int((change - at) // 200))
    for moment in range(at, int(change), step):
        assert open_by_the_database(window, moment) is before


@given(window=some_windows(), at=times)
def test_it_opens_within_two_days_of_any_moment(window: Window, at: int) -> None:
    opens = windows.opens_at(window, at)
    assert windows.is_open(window, opens) and at <= opens
    # A window within the hour that is missing in spring waits for the next night.
    assert opens - at <= 2 * 86_400 + 7_200


@pytest.mark.parametrize(
    ("hours", "at", "change"),
    [
        ("22:00-07:00", SPRING, SPRING + 4 * 3600),  # 03:00 summer time: the night ends after four hours, not five
        ("22:00-07:00", AUTUMN - 1, AUTUMN + 5 * 3600),
        ("02:15-02:45", SPRING - 60, SPRING + 86_400 - 2700),  # that half hour never was
        ("02:30-05:00", SPRING - 60, SPRING),  # it opens as the clocks jump over its beginning
        ("02:15-02:45", AUTUMN, AUTUMN + 900),  # and comes twice in autumn
    ],
)
def test_the_nights_when_the_clocks_change(hours: str, at: int, change: int) -> None:
    window = zones.resolved(windows.parse(f"{hours} Europe/Berlin"), "UTC", YEAR + 1)
    assert windows.changes_at(window, at) == change


@pytest.mark.parametrize("text", ["22:00-07:00", "00:00-23:59", "9:00", "22:00-24:00 UTC", "08:30-12:00 Asia/Kolkata"])
def test_hours_are_read_as_they_are_written(text: str) -> None:
    if text == "9:00":
        with pytest.raises(ValueError, match="must be hours"):
            windows.parse(text)
    else:
        assert str(windows.parse(text)) == text


WRONG = [
    *("", "22-7", "22:00", "22:00-22:00", "00:00-24:00", "24:00-07:00", "22:60-07:00", "25:00-07:00", "22:00-24:01"),
    *("22:00-07:00 ../../etc/passwd", "22:00-07:00 Europe/Berlin/x/y", "22:00-07:00 " + "x" * 200, 7, None, ["22:00"]),
]


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        windows.parse(text)


# --- in the queue ------------------------------------------------------------------------------------------------


def night(world: World, hours: float, length: float = 9.0) -> Window:
    """A window that opens in so many hours from now (UTC)."""
    opens = (world.clock.now() + hours * 3600) % 86_400
    return Window(opens=int(opens), closes=int((opens + length * 3600) % 86_400), zone="UTC")


def codes(world: World, job_id: str) -> list[str]:
    return [str(reason.code) for reason in explain.why(world.yard, world.yard.jobs[job_id], world.now())]


def wake(world: World) -> None:
    """What the Scheduler's timer does."""
    from gpuyard.actors.model import policy

    world.do(policy.start_what_may)


def test_a_job_waits_for_its_window_and_starts_when_it_opens_called_by_a_timer() -> None:
    world = World(local_job_max_concurrent=4)
    job = world.job(window=night(world, 2))
    other = world.job()
    assert world.running() == [other] and codes(world, job) == ["Window"]
    reason = explain.why(world.yard, world.yard.jobs[job], world.now())[0]
    assert reason.detail["opens_at"] in reason.text and "UTC" in reason.text and reason.unblock
    assert world.yard.timers.next == pytest.approx(world.clock.now() + 7200, abs=1)
    world.clock.advance(7201)
    wake(world)
    assert job in world.running()


def test_a_job_that_found_no_gpu_while_it_was_open_waits_for_the_next_night() -> None:
    world = World(gpus=1, local_job_max_concurrent=4)
    blocker = world.job()
    job = world.job(window=night(world, 0, length=1))
    assert codes(world, job) == ["GpusBusy"]
    world.clock.advance(3601)
    world.end(blocker)
    assert world.status(job) == "pending" and codes(world, job) == ["Window"]
    world.clock.advance(23 * 3600)
    wake(world)
    assert job in world.running()


def test_a_run_goes_on_when_its_window_closes_and_its_next_attempt_waits() -> None:
    world = World()
    job = world.job(window=night(world, 0, length=1), retry_on=("exit:3",), max_attempts=2)
    world.clock.advance(3601)
    wake(world)
    assert job in world.running()
    world.end(job, "exit:3", 3)
    world.clock.advance(600)
    wake(world)
    assert codes(world, job) == ["Window"]


def test_a_closed_window_keeps_no_gpus_from_others() -> None:
    world = World(gpus=2, local_job_max_concurrent=8, reserve_after_seconds=0)
    first = world.job(1)
    big = world.job(2, window=night(world, 5))
    world.clock.advance(60)
    assert world.job(1) in world.running()
    world.end(first)
    assert codes(world, big)[0] == "Window"


@pytest.mark.parametrize("how", ["held", "not_before", "user limit", "restart"])
def test_a_window_and_something_else(how: str) -> None:
    world = World(gpus=4, local_job_max_concurrent=8)
    window = night(world, 2)
    more: dict[str, Any] = {"not_before": world.clock.now() + 3 * 3600} if how == "not_before" else {}
    if how == "user limit":
        world.limit(user_max_gpus=1)
    first = world.job(by=ANN)
    job = world.job(by=ANN, window=window, **more)
    if how == "held":
        world.change(change.hold, HoldJob(job_id=job))
    if how == "restart":
        world.restart()
    world.clock.advance(2 * 3600 + 1)
    wake(world)
    if how == "restart":
        assert job in world.running()
        return
    assert world.status(job) == "pending"
    if how == "held":
        world.change(change.release, ReleaseJob(job_id=job))
    elif how == "not_before":
        world.clock.advance(3600)
        wake(world)
    else:
        assert codes(world, job) == ["UserLimit"]
        world.end(first)
    assert job in world.running()


def test_a_limit_that_ends_while_the_window_is_closed_starts_nothing() -> None:
    world = World(gpus=4, local_job_max_concurrent=8, user_max_gpus=1)
    first = world.job(by=ANN)
    job = world.job(by=ANN, window=night(world, 0, length=1))
    assert codes(world, job) == ["UserLimit"]
    world.clock.advance(3601)
    world.end(first)
    assert codes(world, job) == ["Window"]


def test_an_opening_window_lifts_the_hold_of_a_cancel() -> None:
    world = World()
    running, job = world.job(), world.job(window=night(world, 1))
    world.cancel(running)
    world.end(running, "cancelled", 143)
    assert world.yard.processing_held
    world.clock.advance(3601)
    wake(world)
    assert job in world.running()


def test_no_wait_outside_the_window_is_refused_and_a_dry_run_predicts_waiting() -> None:
    world = World()
    refused = world.submit(window=night(world, 1), no_wait=True)
    assert isinstance(refused, JobRefused) and refused.reasons[0].code == "Window"
    predicted = world.submit(window=night(world, 1), dry_run=True)
    assert isinstance(predicted, JobAccepted) and predicted.status == "queued"


@given(
    lengths=st.lists(st.tuples(st.integers(0, 23), st.integers(1, 12), st.integers(0, 2)), min_size=1, max_size=6),
    steps=st.lists(st.integers(1, 20_000), min_size=1, max_size=12),
)
@example(lengths=[(0, 1, 1)], steps=[3600, 3600])
def test_whatever_the_windows_a_job_starts_inside_its_own_or_not_at_all(
    lengths: list[tuple[int, int, int]], steps: list[int]
) -> None:
    """`World._check_start` looks at every start; what is open and free has no reason to wait."""
    world = World(gpus=2, local_job_max_concurrent=2, local_cpu_job_max_concurrent=1)
    jobs = [world.job(gpus, window=night(world, hours, length)) for hours, length, gpus in lengths]
    for step in steps:
        world.clock.advance(step)
        wake(world)
        for job in world.running()[:1]:
            world.end(job)
        for job in jobs:
            if world.status(job) == "pending":
                assert list(explain.obstacles(world.yard, world.yard.jobs[job], world.now()))


# --- pauses ------------------------------------------------------------------------------------------------------


def test_a_paused_target_starts_nothing_until_it_is_resumed_over_restarts_too() -> None:
    world = World(local_job_max_concurrent=4)
    running = world.job()
    world.change(pause, PauseQueue(targets=("local",)))
    gpu, cpu = world.job(1), world.job(0)
    assert world.running() == [running] and codes(world, gpu) == codes(world, cpu) == ["QueuePaused"]
    world.change(change.process, ProcessQueue())
    world.restart()
    assert world.running() == [running]
    reason = explain.why(world.yard, world.yard.jobs[gpu], world.now())[0]
    assert reason.unblock == "gpuyard queue resume local" and reason.never
    answer = world.change(resume, ResumeQueue())
    assert (answer.paused, set(answer.job_ids)) == ([], {gpu, cpu})


def test_each_target_is_paused_by_itself() -> None:
    world = World()
    world.change(pause, PauseQueue(targets=("worker", "cloud")))
    remote, here = world.job(target=Target.WORKER), world.job()
    assert world.running() == [here] and codes(world, remote) == ["QueuePaused"]
    answer = world.change(resume, ResumeQueue(targets=("worker",)))
    assert answer.paused == ["cloud"] and codes(world, remote) == ["NoMatchingWorker"]
    answer = world.change(pause, PauseQueue())
    assert answer.paused == ["cloud", "local", "worker"]


def test_pausing_twice_is_told_once_and_only_admins_may() -> None:
    world = World()
    for _ in range(2):
        world.change(pause, PauseQueue())
    assert [event.kind for event in world.store.events] == ["queue_paused"]
    for function, command in ((pause, PauseQueue(by=ANN)), (resume, ResumeQueue(by=ANN))):
        with pytest.raises(NotAllowed):
            world.change(function, command)
    with pytest.raises(InvalidInput):
        world.change(pause, PauseQueue(targets=("moon",)))


def test_no_wait_is_refused_while_it_is_paused() -> None:
    world = World()
    world.change(pause, PauseQueue(targets=("local",)))
    refused = world.submit(no_wait=True)
    assert isinstance(refused, JobRefused) and refused.reasons[0].code == "QueuePaused"
