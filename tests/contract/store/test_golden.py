"""Databases of earlier releases open, with everything that is in them: one golden file a schema, never rewritten."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commands import ListJobs
from gpuyard.actors.model.commit import Hold, StoredKey
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.store import admin
from gpuyard.actors.store.reader import Reader
from gpuyard.actors.store.schema import known
from tests.contract.store.make_golden import FENCE, GPUS, SPEC
from tests.support_store import T0, attempt_of, job_of, opened

GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*.sql"))


def test_each_schema_has_its_golden_file() -> None:
    assert [file.name for file in GOLDEN] == [f"v{number}.sql" for number in range(1, len(known()) + 1)]


@pytest.fixture(params=GOLDEN, ids=lambda file: file.stem)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
    return path


def test_an_old_database_is_whole(path: Path) -> None:
    assert admin.check(path) == []


def test_an_old_database_opens_with_all_that_is_active(path: Path) -> None:
    with opened(path) as database:
        state = database.snapshot(T0 + 3600)
    jobs = {job.job_id: job for job in state.jobs}
    assert sorted(jobs) == ["job000004", "job000005", "job000006"]
    assert jobs["job000004"] == job_of(
        4, spec=SPEC, user_id=2, team_id="alpha", priority=20, priority_override=45, status="running",
        started_at=T0 + 101.5, cancel_requested=True,
    )  # fmt: skip
    waiting = jobs["job000005"]
    assert (waiting.attempt, waiting.wait_until, waiting.held, waiting.retry_of) == (2, T0 + 900.125, True, "job000002")
    blocked = jobs["job000006"]
    assert (blocked.status, blocked.requires_approval, blocked.approval_id, blocked.spec.is_cpu) == (
        "blocked", True, 6, True
    )  # fmt: skip
    running = attempt_of(
        job_of(4), 4, gpus=GPUS, phase=Phase.STOPPING, started_at=T0 + 101.5, pid=4242, stop_reason="by owner"
    )
    assert [attempt.fence for attempt in state.attempts] == [make_fence(1, 2), FENCE]
    assert state.attempts[1] == running
    assert set(state.holds) == {
        *(Hold("local", gpu.uuid, gpu.index, FENCE, T0 + 100) for gpu in GPUS),
        Hold("local", "GPU-cccc", 2, make_fence(1, 2), T0 + 90),
    }
    assert state.settings == {"limits": {"max_concurrent": 7, "local_gpu_max_concurrent": None}}
    assert state.keys == (StoredKey(2, "key-1", "d" * 64, ("job000004",), T0 + 4),)
    assert state.counts == {"blocked": 1, "cancelled": 1, "completed": 1, "failed": 1, "pending": 1, "running": 1}
    assert (state.next_job, state.next_seq, state.next_event) == (7, 7, 5)


def test_what_waited_and_what_was_used_before_there_were_rules_is_taken_over(path: Path) -> None:
    with opened(path) as database:
        state = database.snapshot(T0 + 3600)
        used = database.connection.execute("SELECT * FROM usage").fetchall()
    [approval] = state.approvals
    assert (approval.id, approval.job_id, approval.requested_at) == (6, "job000006", T0 + 6)
    assert approval.required_approver_level == "admin" and approval.reason
    assert used == [("2023-11-14", 1, "", "local", 2, 103_000, 103_000)]
    assert 1 in state.let_in
    assert state.submits == (("2023-11-14", 1, 3),)


def test_an_old_history_is_read(path: Path) -> None:
    with opened(path):
        reader = Reader(path)
        reader.open()
        page = reader.list_jobs(ListJobs())
        assert [(record.entry.id, record.entry.status) for record in page.records] == [
            (6, "blocked"), (5, "pending"), (4, "running"), (3, "cancelled"), (2, "failed"), (1, "completed")
        ]  # fmt: skip
        record = reader.get_job("job000004", prefix=False)
        assert record.entry.allocated_gpus == [1, 0]
        assert record.events[0].data == {"gpus": [1, 0]}
        assert record.entry.metadata == {"run_name": "sdxl-lora-7", "tags": ["a", None, 1.5]}
        assert reader.get_job("job000005", prefix=False).attempts[0].error == "keeper killed, exit code unknown"
        reader.close()
