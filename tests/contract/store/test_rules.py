"""What the rules of the queue keep in the store: approvals, their rules, who was let in, and usage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model.approvals import RuleType
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import Commit, GetUsage, ListApprovals
from gpuyard.actors.model.commit import AddUsage, DeleteFinished, Row
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.job import JobSpec, Status
from gpuyard.actors.model.people import Level
from gpuyard.actors.model.registers import DropRecord, PutRecord
from gpuyard.actors.store import admin, groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.reader import Reader
from tests.support_store import T0, bench, ended, opened, started, submitted

RULE = {"id": 3, "name": "dear", "type": "cost_exceeds", "condition": "", "threshold": 50.0, "enabled": True}
RULE |= {"required_approver_level": "lead", "exempt_levels": ["admin"], "precedence": 20}


def approval(number: int, status: str = "pending", **changes: Any) -> PutRecord:
    values = {
        "id": number,
        "job_id": f"job{number:06d}",
        "user_id": 1 + number % 2,
        "requested_at": iso(T0 + number),
        "reason": "why",
        "status": status,
        "rule_id": 3,
    }
    return PutRecord("approval", values | changes)


def write(database: Database, *rows: Row) -> str | None:
    return groups.write(database, [Commit(generation=1, number=1, rows=rows)]).error


def test_a_restart_finds_rules_waiting_approvals_and_who_was_let_in(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs.db") as database:
        decided = approval(2, "approved", decided_by="lee", decided_at=iso(T0 + 9), decision_reason="ok", rule_id=7)
        rows = [PutRecord("approval_rule", RULE), approval(1), decided, *submitted(1), *submitted(2, user_id=2)]
        assert write(database, *rows, PutRecord("submitter", {"user_id": 2, "first_at": iso(T0)})) is None
    with opened(tmp_path / "jobs.db") as database:
        state = database.snapshot(T0 + 60)
        [rule] = state.rules
        assert (rule.type, rule.threshold, rule.exempt_levels, rule.condition) == (
            RuleType.COST_EXCEEDS, 50.0, ("admin",), ""
        )  # fmt: skip
        assert [one.id for one in state.approvals] == [1]
        assert (state.next_rule, state.next_approval) == (8, 3), "numbers of removed rules are not given again"
        assert state.let_in == (2,)
        assert database.snapshot(T0 + 3 * 86_400).submits == ()
        assert sum(count for _, _, count in state.submits) == 2
        assert write(database, DropRecord("approval_rule", {"id": 3})) is None
        assert database.snapshot(T0).rules == ()


def test_a_decision_never_changes_and_no_approval_ever_goes(tmp_path: Path) -> None:
    with opened(tmp_path / "jobs.db") as database:
        assert write(database, approval(1)) is None
        assert write(database, approval(1, "rejected")) is None
        assert "a decision never changes" in (write(database, approval(1, "approved")) or "")
        assert "approvals are kept" in (write(database, DropRecord("approval", {"id": 1})) or "")
        assert write(database, approval(2, job_id="job000001")) is not None, "a job has one"


def test_a_blocked_job_and_its_approval_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    blocked = submitted(1, status=Status.BLOCKED, requires_approval=True)
    with opened(path) as database:
        assert write(database, *blocked, approval(1)) is None
    assert admin.check(path) == []
    with opened(path) as database:
        assert write(database, *submitted(2, status=Status.BLOCKED), approval(3)) is None
    assert admin.check(path) == [
        "job job000002 is blocked, but no approval waits for it",
        "approval 3 waits for a job that is not blocked",
    ]


@pytest.mark.parametrize(
    "row", [PutRecord("queue", {"id": 1}), PutRecord("approval", {"id": 1, "king": 1}), DropRecord("approval", {})]
)
def test_a_row_that_fits_no_register_voids_its_commit(tmp_path: Path, row: Row) -> None:
    with bench(tmp_path / "jobs.db") as store:
        store.load(1)
        store.commit(1, 1, *submitted(1))
        store.durable(1, 1)
        store.commit(1, 2, *submitted(2), row)
        assert store.failed(1, 2).error
        assert [job.job_id for job in store.load(2).jobs] == ["job000001"]


def test_usage_is_summed_in_the_commit_of_the_end_and_outlives_the_job(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    used = AddUsage("2023-11-14", 1, "red", "local", 1, 51_000, 102_000)
    with opened(path) as database:
        assert write(database, *submitted(1), *started(1, 1), *ended(1, 1), used) is None
        failing = (*submitted(2), used, *ended(2, 2))
        assert write(database, *failing) is not None, "an end that is void adds nothing"
        assert write(database, used, AddUsage("2023-11-15", 2, "", "cloud", 1, 5, 5)) is None
        assert write(database, DeleteFinished(T0 + 10**6)) is None
        reader = Reader(path)
        reader.open()
        rows = reader.usage(GetUsage(first="2023-11-01", last="2023-11-30")).rows
        assert rows == [
            AddUsage("2023-11-14", 1, "red", "local", 2, 102_000, 204_000),
            AddUsage("2023-11-15", 2, "", "cloud", 1, 5, 5),
        ]
        one = GetUsage(first="2023-11-14", last="2023-11-14", user_id=1, team_id="red")
        assert len(reader.usage(one).rows) == 1
        assert reader.usage(GetUsage(first="2023-11-16", last="2023-11-30")).rows == []
        reader.close()


def test_usage_tells_which_runs_have_not_ended(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        rows = (*submitted(1), *started(1, 1), *ended(1, 1), *submitted(2), *started(2, 2))
        assert write(database, *rows) is None
        state = database.snapshot(T0)
        [live] = [attempt.fence for attempt in state.attempts]
        reader = Reader(path)
        reader.open()
        asked = tuple(range(live - 600, live + 600))
        assert reader.usage(GetUsage(first="2023-11-01", last="2023-11-30", live=asked)).live == [live]
        reader.close()


def test_approvals_are_listed_those_that_wait_first(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        rows = [approval(n, "pending" if n % 2 else "expired") for n in range(1, 7)]
        assert write(database, *rows) is None
        reader = Reader(path)
        reader.open()
        page = reader.list_approvals(ListApprovals())
        assert ([one.id for one in page.approvals], page.total) == ([1, 3, 5, 6, 4, 2], 6)
        page = reader.list_approvals(ListApprovals(statuses=("expired",), user_id=1, limit=2, offset=1))
        assert ([one.id for one in page.approvals], page.total) == ([4, 2], 3)
        assert reader.get_approval(3).requested_at == iso(T0 + 3)
        with pytest.raises(NotFound):
            reader.get_approval(9)
        reader.close()


def test_past_submits_are_as_the_rules_would_have_seen_them(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    spec = JobSpec(argv=("x",), env={"KEY": "secret"}, estimated_cost=9.0, num_processes=4, metadata={"a": 1})
    with opened(path) as database:
        rows = (*submitted(1), *submitted(2, user_id=2), *submitted(3, spec=spec, priority=20), *submitted(4))
        first = PutRecord("submitter", {"user_id": 1, "first_at": iso(T0 + 1)})
        blocked = submitted(5, user_id=2, status=Status.BLOCKED, requires_approval=True)
        assert write(database, *rows, first, *blocked) is None
        reader = Reader(path)
        reader.open()
        past = reader.past_submits(4)
        reader.close()
    assert [one.job_id[-1] for one in past] == ["5", "4", "3", "2"]
    third = past[2]
    assert (third.candidate.level, third.candidate.estimated_cost, third.candidate.gpus) == (Level.LEAD, 9.0, 4)
    assert third.spec.env == {} and third.spec.metadata == {} and third.spec.argv == ()
    # The events of this store's tests are all of user 1: jobs 1 to 5 in order.
    assert [one.candidate.submitted_today for one in past] == [4, 3, 2, 1]
    assert [one.candidate.first_job for one in past] == [True, False, False, True]
