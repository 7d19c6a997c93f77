"""Deleting: only what has ended and holds nothing; numbers are never used twice."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.commit import CloseHolds, Deleted, DeleteFinished, DeleteJobRow
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import Status
from gpuyard.actors.store import deletes, identity
from gpuyard.actors.store.writes import apply
from tests.support_store import T0, ended, started, submitted
from tests.unit.store.scratch import scratch


def test_one_ended_job_goes_with_all_that_is_its_own() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *submitted(2), *started(1, 1), *ended(1, 1)])
        (found,) = apply(db, [DeleteJobRow("job000001")])
        assert found == Deleted(job_ids=("job000001",), by_status={"completed": 1}, fences=(make_fence(1, 1),))
        for table, left in (("queue", 1), ("job_spec", 1), ("attempt", 0), ("gpu_hold", 0), ("event", 2)):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (left,), table


def test_what_is_not_there_or_not_over_is_left_alone() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *submitted(2), *started(2, 1)])
        found = apply(db, [DeleteJobRow("nobody"), DeleteJobRow("job000001"), DeleteJobRow("job000002")])
        assert found == (Deleted(found=False, terminal=False), Deleted(terminal=False), Deleted(terminal=False))
        assert db.execute("SELECT count(*) FROM queue").fetchone() == (2,)


def test_a_job_whose_gpu_is_not_yet_empty_stays() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1), *ended(1, 1, release=False)])
        assert apply(db, [DeleteJobRow("job000001")]) == (Deleted(terminal=False),)
        assert apply(db, [DeleteFinished(T0 * 2)]) == (Deleted(),)
        apply(db, [CloseHolds(make_fence(1, 1), T0)])
        assert apply(db, [DeleteFinished(T0 * 2)])[0].job_ids == ("job000001",)


def test_finished_jobs_go_by_the_time_of_their_end() -> None:
    with scratch() as db:
        for number, status in ((1, Status.COMPLETED), (2, Status.FAILED), (3, Status.CANCELLED), (4, Status.FAILED)):
            apply(db, [*submitted(number), *started(number, number), *ended(number, number, status)])
        apply(db, [*submitted(5), *submitted(6), *started(6, 6)])
        (found,) = apply(db, [DeleteFinished(T0 + 150 + 4)])
        assert found.job_ids == ("job000001", "job000002", "job000003")
        assert found.by_status == {"completed": 1, "failed": 1, "cancelled": 1}
        assert found.fences == tuple(make_fence(1, n) for n in (1, 2, 3))
        left = db.execute("SELECT job_id FROM queue ORDER BY id").fetchall()
        assert left == [("job000004",), ("job000005",), ("job000006",)]


def test_a_limit_takes_the_oldest() -> None:
    with scratch() as db:
        for number in (3, 1, 2):
            apply(db, [*submitted(number), *started(number, number), *ended(number, number)])
        assert apply(db, [DeleteFinished(T0 * 2, limit=2)])[0].job_ids == ("job000001", "job000002")
        assert apply(db, [DeleteFinished(T0 * 2, limit=0)]) == (Deleted(),)


def test_more_than_one_chunk_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletes, "CHUNK", 3)
    with scratch() as db:
        for number in range(1, 9):
            apply(db, [*submitted(number), *started(number, number), *ended(number, number)])
        (found,) = apply(db, [DeleteFinished(T0 * 2)])
        assert (len(found.job_ids), found.by_status, len(found.fences)) == (8, {"completed": 8}, 8)
        assert db.execute("SELECT count(*) FROM queue").fetchone() == (0,)


def test_no_number_is_used_twice_after_a_delete() -> None:
    with scratch() as db:
        for number in (1, 2, 3):
            apply(db, [*submitted(number), *started(number, number), *ended(number, number)])
        before = identity.high_water(db)
        assert before == identity.Marks(job=3, seq=3, event=3, fence=make_fence(1, 3))
        apply(db, [DeleteJobRow("job000002"), DeleteJobRow("job000003"), DeleteJobRow("job000001")])
        assert identity.high_water(db) == before


def test_the_next_fence_begins_anew_in_a_new_epoch() -> None:
    marks = identity.Marks(fence=make_fence(2, 7))
    assert (marks.next_fence(2), marks.next_fence(3), identity.Marks().next_fence(1)) == (8, 1, 1)
