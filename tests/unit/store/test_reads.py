"""The snapshot: everything the Scheduler rebuilds itself from, and nothing that has ended."""

from __future__ import annotations

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commit import (
    Hold,
    InsertAttempt,
    PutSetting,
    RememberKey,
    Snapshot,
    StoredKey,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import Status
from gpuyard.actors.store.reads import snapshot
from gpuyard.actors.store.writes import apply
from tests.support_store import GPU, T0, attempt_of, ended, job_of, started, submitted
from tests.unit.store.scratch import scratch


def test_a_new_database_has_nothing() -> None:
    with scratch() as db:
        assert snapshot(db, "id", 1, T0) == Snapshot(
            db_id="id", db_epoch=1, next_job=1, next_seq=1, next_event=1, next_fence=1
        )


def test_active_jobs_live_attempts_and_open_holds() -> None:
    with scratch() as db:
        for number in (1, 2, 3, 4, 5):
            apply(db, submitted(number, seq=10 - number))
        apply(db, [UpdateJob("job000005", Status.PENDING, {"held": True})])
        apply(db, [*started(1, 1), *ended(1, 1), *started(2, 2), *ended(2, 2, Status.FAILED, release=False)])
        apply(db, [*submitted(6), *submitted(7, status=Status.BLOCKED, requires_approval=True, seq=20)])
        apply(db, started(3, 3, gpu=GPU.__class__("GPU-3", 3)))
        state = snapshot(db, "id", 1, T0)
    assert [(job.id, job.status, job.seq) for job in state.jobs] == [
        (5, "pending", 5), (4, "pending", 6), (6, "pending", 6), (3, "running", 7), (7, "blocked", 20)
    ]  # fmt: skip
    # Attempt 2 has ended, but its GPU is not yet empty.
    assert [(a.fence, a.phase) for a in state.attempts] == [
        (make_fence(1, 2), Phase.EXITED),
        (make_fence(1, 3), Phase.ASSIGNED),
    ]
    assert sorted(hold.fence for hold in state.holds) == [make_fence(1, 2), make_fence(1, 3)]
    assert Hold("local", GPU.uuid, 0, make_fence(1, 2), T0 + 100) in state.holds
    assert state.counts == {"blocked": 1, "completed": 1, "failed": 1, "pending": 3, "running": 1}
    assert (state.next_job, state.next_seq, state.next_event, state.next_fence) == (8, 21, 8, 4)
    assert state.jobs[0].held
    assert state.jobs[3] == job_of(3, seq=7, status=Status.RUNNING)


def test_a_fence_of_an_older_epoch_does_not_count() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 41)])
        assert snapshot(db, "id", 1, T0).next_fence == 42
        assert snapshot(db, "id", 2, T0).next_fence == 1


def test_the_waits_of_the_last_hundred_first_starts() -> None:
    with scratch() as db:
        for number in range(1, 104):
            began = None if number == 50 else T0 + 3 * number
            attempt = attempt_of(job_of(number), number, started_at=began, phase=Phase.EXITED, gpus=())
            apply(db, [*submitted(number), InsertAttempt(attempt)])
        waits = snapshot(db, "id", 1, T0).waits
    # Job n was queued at T0 + n and began at T0 + 3n; the 50th never began.
    assert waits == tuple(2.0 * n for n in range(3, 104) if n != 50)


def test_keys_of_the_last_day_and_settings_of_others() -> None:
    with scratch() as db:
        apply(db, [RememberKey(1, "old", "d", (), T0), RememberKey(1, "new", "d", ("a", "b"), T0 + 1000)])
        apply(db, [PutSetting("limits", {"max_concurrent": 7}), PutSetting("note", [1, None])])
        state = snapshot(db, "id", 1, T0 + 86_400 + 500)
    assert state.keys == (StoredKey(1, "new", "d", ("a", "b"), T0 + 1000),)
    assert state.settings == {"limits": {"max_concurrent": 7}, "note": [1, None]}


def test_a_running_attempt_comes_back_whole() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        apply(db, [UpdateAttempt(make_fence(1, 1), {"phase": Phase.RUNNING, "started_at": T0 + 101, "pid": 77})])
        (attempt,) = snapshot(db, "id", 1, T0).attempts
    assert attempt == attempt_of(job_of(1), 1, phase=Phase.RUNNING, started_at=T0 + 101, pid=77)
