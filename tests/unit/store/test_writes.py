"""Guards and triggers: what the database refuses, whoever asks."""

from __future__ import annotations

import sqlite3

import pytest

from gpuyard.actors.model.attempt import GpuRef, Phase
from gpuyard.actors.model.commit import (
    CloseHolds,
    EventRow,
    InsertAttempt,
    OpenHold,
    PutSetting,
    RememberKey,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import JobSpec, Status, Target
from gpuyard.actors.store.faults import GuardFailed
from gpuyard.actors.store.writes import apply
from tests.support_store import GPU, T0, attempt_of, ended, event_of, job_of, started, submitted
from tests.unit.store.scratch import scratch

OTHER_GPU = GpuRef("GPU-1", 1)


def one(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]


def test_a_job_of_another_status_is_not_changed() -> None:
    with scratch() as db:
        apply(db, submitted(1))
        with pytest.raises(GuardFailed, match="job job000001 is not running"):
            apply(db, [UpdateJob("job000001", Status.RUNNING, {"status": Status.FAILED})])
        with pytest.raises(GuardFailed, match="job nobody is not pending"):
            apply(db, [UpdateJob("nobody", Status.PENDING, {"held": True})])
        apply(db, [UpdateJob("job000001", Status.PENDING, {"held": True, "seq": 9, "wait_until": T0})])
        assert db.execute("SELECT held, position, wait_until FROM queue").fetchone() == (
            1,
            9,
            "2023-11-14T22:13:20.000Z",
        )


def test_an_update_without_changes_still_guards() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        apply(db, [UpdateJob("job000001", Status.RUNNING, {}), UpdateAttempt(make_fence(1, 1), {})])
        with pytest.raises(GuardFailed):
            apply(db, [UpdateJob("job000001", Status.PENDING, {})])


def test_an_attempt_that_ended_is_not_changed() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1), *ended(1, 1)])
        with pytest.raises(GuardFailed, match="has ended"):
            apply(db, [UpdateAttempt(make_fence(1, 1), {"error": "late"})])
        with pytest.raises(GuardFailed, match="never was"):
            apply(db, [UpdateAttempt(99, {"pid": 1})])


def test_a_gpu_is_held_once() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *submitted(2), *started(1, 1)])
        with pytest.raises(GuardFailed, match="gpu_hold"):
            apply(db, started(2, 2))


def test_a_gpu_of_another_host_is_another_gpu() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        apply(db, [*submitted(2), InsertAttempt(attempt_of(job_of(2), 2, host="worker-1"))])
        apply(db, [OpenHold("worker-1", GPU.uuid, 0, make_fence(1, 2), T0)])
        assert one(db, "SELECT count(*) FROM gpu_hold WHERE closed_at IS NULL") == 2


def test_holds_close_one_by_one_or_all_at_once() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1), OpenHold("local", OTHER_GPU.uuid, 1, make_fence(1, 1), T0)])
        apply(db, [CloseHolds(make_fence(1, 1), T0 + 5, (OTHER_GPU.uuid,))])
        assert db.execute("SELECT uuid FROM gpu_hold WHERE closed_at IS NULL").fetchall() == [(GPU.uuid,)]
        apply(db, [CloseHolds(make_fence(1, 1), T0 + 6)])
        assert one(db, "SELECT count(*) FROM gpu_hold WHERE closed_at IS NULL") == 0
        # The first release keeps its time.
        assert one(db, f"SELECT closed_at FROM gpu_hold WHERE uuid = '{OTHER_GPU.uuid}'") == "2023-11-14T22:13:25.000Z"


def test_a_job_has_one_live_attempt() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        with pytest.raises(GuardFailed, match="has a live attempt already"):
            apply(db, [InsertAttempt(attempt_of(job_of(1), 2))])
        apply(db, [UpdateAttempt(make_fence(1, 1), {"phase": Phase.LOST})])
        apply(db, [InsertAttempt(attempt_of(job_of(1), 2))])


def test_an_attempt_needs_its_job() -> None:
    with scratch() as db, pytest.raises(GuardFailed, match="FOREIGN KEY"):
        apply(db, [InsertAttempt(attempt_of(job_of(1), 1))])


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_terminal_status_never_changes(end: Status) -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1), *ended(1, 1, end)])
        for status in ("running", "pending", "blocked", "completed", "failed", "cancelled"):
            if status == end:
                continue
            with pytest.raises(sqlite3.IntegrityError, match="terminal status never changes"):
                db.execute("UPDATE queue SET status = ?", (status,))
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE queue SET status = NULL")
        with pytest.raises(sqlite3.IntegrityError, match="terminal phase never changes"):
            db.execute("UPDATE attempt SET phase = 'running'")
        db.execute("UPDATE queue SET cost_usd = 1.5")
        assert one(db, "SELECT status FROM queue") == end


def test_events_never_change() -> None:
    with scratch() as db:
        apply(db, [event_of(1)])
        for sql in (
            "UPDATE event SET who = 'me'",
            "DELETE FROM event",
            "INSERT OR REPLACE INTO event (id, at, kind) VALUES (1, '', 'x')",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(sql)
        with pytest.raises(GuardFailed, match="append-only"):
            apply(db, [event_of(1)])
        assert db.execute("SELECT id, kind, who FROM event").fetchall() == [(1, "job_submitted", "owner")]


def test_an_active_job_is_never_deleted() -> None:
    with scratch() as db:
        apply(db, submitted(1))
        with pytest.raises(sqlite3.IntegrityError, match="an active job is never deleted"):
            db.execute("DELETE FROM queue")


def test_the_present_gpus_and_provider_stand_in_the_queue() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        assert db.execute("SELECT allocated_gpus, provider FROM queue").fetchone() == ("[0]", "local")
        apply(
            db,
            [
                UpdateAttempt(make_fence(1, 1), {"phase": Phase.LOST}),
                CloseHolds(make_fence(1, 1), T0),
                UpdateJob("job000001", Status.RUNNING, {"status": Status.PENDING, "attempt": 2}),
            ],
        )
        assert one(db, "SELECT allocated_gpus FROM queue") is None
        apply(db, [InsertAttempt(attempt_of(job_of(1, attempt=2), 2, host="w1", gpus=(OTHER_GPU,)))])
        assert db.execute("SELECT allocated_gpus, provider FROM queue").fetchone() == ("[1]", "worker")


def test_a_cloud_job_keeps_its_provider() -> None:
    spec = JobSpec(target=Target.CLOUD, provider="slurm")
    with scratch() as db:
        apply(db, [*submitted(1, spec=spec), InsertAttempt(attempt_of(job_of(1), 1, host="cloud:slurm", gpus=()))])
        row = db.execute("SELECT allocated_gpus, provider, job_type FROM queue").fetchone()
        assert row == ("[]", "slurm", "cloud")


def test_a_key_is_remembered_for_a_day() -> None:
    with scratch() as db:
        apply(db, [RememberKey(1, "k", "d1", ("job000001",), T0), RememberKey(2, "k", "d1", (), T0)])
        with pytest.raises(GuardFailed, match="idempotency"):
            apply(db, [RememberKey(1, "k", "d2", (), T0 + 86_000)])
        apply(db, [RememberKey(1, "k", "d2", ("job000002",), T0 + 86_401)])
        assert db.execute("SELECT user_id, digest, job_ids FROM idempotency").fetchall() == [(1, "d2", '["job000002"]')]


def test_settings_are_put_replaced_and_dropped_but_never_the_stores_own() -> None:
    with scratch() as db:
        apply(db, [PutSetting("limits", {"max_concurrent": 5}), PutSetting("limits", {"max_concurrent": 6})])
        assert one(db, "SELECT value FROM setting WHERE key = 'limits'") == '{"max_concurrent":6}'
        apply(db, [PutSetting("limits", None), PutSetting("never.was", None)])
        assert db.execute("SELECT count(*) FROM setting WHERE key = 'limits'").fetchone() == (0,)
        with pytest.raises(GuardFailed, match=r"store\.epoch is the store's own"):
            apply(db, [PutSetting("store.epoch", 9)])


def test_an_event_keeps_what_was_said() -> None:
    row = EventRow(id=3, at=T0, kind="gpu_quarantined", by="", data={"uuid": "GPU-1", "n": [1, None]}, cause="c")
    with scratch() as db:
        apply(db, [row])
        stored = db.execute("SELECT id, at, kind, job_id, user_id, who, data, cause FROM event").fetchone()
    assert stored == (
        3, "2023-11-14T22:13:20.000Z", "gpu_quarantined", None, None, "", '{"uuid":"GPU-1","n":[1,null]}', "c"
    )  # fmt: skip
