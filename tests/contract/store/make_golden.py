"""Writes the golden database of the present schema as SQL: run once for each new migration, never for an old one.

python -m tests.contract.store.make_golden tests/contract/store/golden/v1.sql
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gpuyard.actors.model.attempt import GpuRef, Phase
from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import (
    AddUsage,
    CloseHolds,
    EventRow,
    InsertAttempt,
    InsertJob,
    OpenHold,
    PutSetting,
    RememberKey,
    Row,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import JobSpec, Status, Target
from gpuyard.actors.model.registers import PutRecord
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.schema import APPLICATION_ID
from tests.support_store import T0, attempt_of, ended, job_of, started, submitted

SPEC = JobSpec(
    argv=("accelerate", "launch", "train.py", "--name", "größe ☃"),
    workdir="/srv/projekt",
    env={"HF_HUB_OFFLINE": "1"},
    config_name="sdxl",
    config_hash="ab" * 32,
    config_text='command = ["accelerate"]\n',
    name="night run",
    target=Target.LOCAL,
    num_processes=2,
    device_ids=(1, 0),
    estimated_cost=1.25,
    time_limit=3600.0,
    not_before=T0 + 10,
    retry_on=("oom", "exit:1"),
    checkpoint_signal="USR1",
    metadata={"run_name": "sdxl-lora-7", "tags": ["a", None, 1.5]},
)
FENCE = make_fence(1, 4)
GPUS = (GpuRef("GPU-aaaa", 1), GpuRef("GPU-bbbb", 0))


def rows() -> list[Row]:
    """One job in each status, an attempt in each kind, and everything else once."""
    running = job_of(4, spec=SPEC, user_id=2, team_id="alpha", priority=20, priority_override=45)
    waiting = job_of(5, attempt=2, wait_until=T0 + 900.125, held=True, retry_of="job000002")
    blocked = job_of(6, status=Status.BLOCKED, requires_approval=True, approval_id=6, spec=JobSpec(num_processes=0))
    return [
        *submitted(1), *started(1, 1), *ended(1, 1),
        *submitted(2), *started(2, 2), *ended(2, 2, Status.FAILED, release=False),
        *submitted(3), UpdateJob("job000003", Status.PENDING, {"status": Status.CANCELLED, "completed_at": T0 + 30}),
        InsertJob(running),
        UpdateJob("job000004", Status.PENDING, {"status": Status.RUNNING}),
        InsertAttempt(attempt_of(running, 4, gpus=GPUS)),
        *(OpenHold("local", gpu.uuid, gpu.index, FENCE, T0 + 100) for gpu in GPUS),
        UpdateAttempt(FENCE, {"phase": Phase.RUNNING, "started_at": T0 + 101.5, "pid": 4242}),
        UpdateAttempt(FENCE, {"phase": Phase.STOPPING, "stop_reason": "by owner"}),
        UpdateJob("job000004", Status.RUNNING, {"started_at": T0 + 101.5, "cancel_requested": True}),
        InsertJob(waiting),
        InsertAttempt(attempt_of(job_of(5), 3, phase=Phase.LOST, error="keeper killed, exit code unknown", gpus=())),
        CloseHolds(make_fence(1, 2), T0 + 200),
        OpenHold("local", "GPU-cccc", 2, make_fence(1, 2), T0 + 90),
        InsertJob(blocked),
        EventRow(id=4, at=T0 + 4.75, kind="job_started", job_id="job000004", user_id=2, by="anna",
                 data={"gpus": [1, 0]}, cause="req-1"),
        RememberKey(2, "key-1", "d" * 64, ("job000004",), T0 + 4),
        PutSetting("limits", {"max_concurrent": 7, "local_gpu_max_concurrent": None}),
        PutRecord("approval_rule", {"id": 3, "name": "dear", "type": "cost_exceeds", "threshold": 50.0,
                                    "required_approver_level": "lead", "exempt_levels": ["admin"], "precedence": 2}),
        PutRecord("approval", {"id": 6, "job_id": "job000006", "user_id": 1, "requested_at": "2023-11-14T22:13:26.000Z",
                               "reason": "Rule dear", "rule_id": 3, "rule_name": "dear"}),
        PutRecord("provider", {"name": "slurm", "enabled": 0, "circuit": "open", "failures": 5, "why": "no answer",
                               "opened_at": T0 + 5, "retry_at": T0 + 10, "pause": 10.0}),
        PutRecord("webhook", {"id": "wh_1", "owner": 1, "url": "https://example.com/hook", "events": ["failed"],
                              "cursor": 3, "created_at": T0, "created_by": "anna", "failing_since": T0 + 5}),
        PutRecord("webhook_delivery", {"id": "msg_12", "webhook_id": "wh_1", "event_id": 2, "type": "job.failed",
                                       "body": '{"type":"job.failed"}', "created_at": T0 + 4, "next_at": T0 + 30,
                                       "attempts": 2, "status": 500, "why": "it answered 500"}),
        PutRecord("submitter", {"user_id": 1, "first_at": "2023-11-14T22:13:21.000Z"}),
        AddUsage("2023-11-14", 1, "", "local", 1, 51_000, 51_000),
        AddUsage("2023-11-14", 1, "", "local", 1, 52_000, 52_000),
    ]  # fmt: skip


def dump(path: Path) -> str:
    """A database with `rows`, as SQL."""
    database = Database.open(path)
    try:
        outcome = groups.write(database, [Commit(generation=1, number=1, rows=tuple(rows()))])
        assert outcome.error is None, outcome.error
        statements = database.connection.iterdump()
        return "\n".join([f"PRAGMA application_id = {APPLICATION_ID};", *statements]) + "\n"
    finally:
        database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[1]).write_text(dump(Path(folder) / "jobs.db"), encoding="utf-8")
