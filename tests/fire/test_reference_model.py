"""The HTTP API against a small model written from the requirement: after every step both show the same queue.

The application and its actors are the real ones, in this process; runs are real programs, which end when told.
The long form: GPUYARD_MODEL_RUNS=500 GPUYARD_MODEL_STEPS=50 pytest tests/fire/test_reference_model.py
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fire.reference_model import PEOPLE, Job, Person, Queue
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard, opened

RUNS = int(os.environ.get("GPUYARD_MODEL_RUNS", "15"))
STEPS = int(os.environ.get("GPUYARD_MODEL_STEPS", "30"))
LIMITS: dict[str, Any] = {
    "local_job_max_concurrent": 2,
    "local_cpu_job_max_concurrent": 1,
    "local_gpu_max_concurrent": None,
    "user_max_gpus": None,
}
# Ends when its pipe says with which code.
PROGRAM = ("sh", "-c", 'read -r code < "$0"; exit "$code"')

NEW_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "local_job_max_concurrent": st.integers(1, 4),
        "local_cpu_job_max_concurrent": st.integers(1, 3),
        "local_gpu_max_concurrent": st.sampled_from([None, None, 1, 2, 3]),
        "user_max_gpus": st.sampled_from([None, None, 1, 2, 3]),
    },
)
people = st.sampled_from(list(PEOPLE.values()))
# Mostly somebody who may.
bosses = st.sampled_from([PEOPLE["owner"], PEOPLE["owner"], PEOPLE["owner"], PEOPLE["lead"], PEOPLE["ann"]])
picks = st.integers(0, 1_000)


class QueueMachine(RuleBasedStateMachine):
    """A day of a queue; the yard is shared by all days, and empty at the start of each."""

    yard: ClassVar[Yard]
    folder: ClassVar[Path]
    pipes: ClassVar[Iterator[int]]

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(**LIMITS)
        self.pipe_of: dict[str, Path] = {}
        self.yard.post("/api/queue/concurrency", LIMITS)
        self.yard.post("/api/queue/process")

    # --- what people do ---

    @initialize(changes=NEW_LIMITS)
    def begin(self, changes: dict[str, Any]) -> None:
        self._limit(PEOPLE["owner"], changes)

    @rule(by=people, needs=st.lists(st.sampled_from([0, 1, 1, 1, 2, 3]), min_size=1, max_size=5))
    def submit_some(self, by: Person, needs: list[int]) -> None:
        for need in needs:
            self._submit(by, need, (), None, False, "")

    @rule(
        by=people,
        need=st.integers(0, 5),
        devices=st.sampled_from([(), (), (), (0,), (3,), (1, 2), (0, 1, 3)]),
        override=st.sampled_from([None, None, None, None, 5, 39, 45]),
        approval=st.sampled_from([False, False, False, True]),
        how=st.sampled_from(["", "", "", "", "no_wait", "dry_run"]),
    )
    def submit(
        self, by: Person, need: int, devices: tuple[int, ...], override: int | None, approval: bool, how: str
    ) -> None:
        self._submit(by, need, devices, override, approval, how)

    def _submit(
        self, by: Person, need: int, devices: tuple[int, ...], override: int | None, approval: bool, how: str
    ) -> None:
        if how == "no_wait" and self.queue.processing_held:
            how = ""
        pipe = self.folder / f"pipe-{next(self.pipes)}"
        os.mkfifo(pipe)
        body = {"command": [*PROGRAM, str(pipe)], "num_processes": need, "requires_approval": approval}
        body |= {"device_ids": list(devices)} if devices else {}
        body |= {"priority_override": override} if override is not None else {}
        body |= {how: True} if how else {}
        answer = self.yard.ask("POST", "/api/queue/submit", body, by=by.name)
        wanted = Job(by, need, 0, devices, override, approval=approval)
        status, job = self.queue.submit(by, wanted, no_wait=how == "no_wait", dry_run=how == "dry_run")
        self._submitted(answer, status, job, pipe)

    def _submitted(self, answer: Any, status: int, job: Job | None, pipe: Path) -> None:
        assert answer.status_code == status, answer.text
        if status != 200:
            return
        said = answer.json()
        assert (said["job_id"] is not None) == (job is not None), said
        if job is None:
            return
        job_id = said["job_id"]
        self.queue.named(job, job_id)
        self.pipe_of[job_id] = pipe
        assert said["status"] == {"pending": "queued"}.get(job.status, job.status)
        assert (said["allocated_gpus"] or []) == job.gpus
        assert said["queue_position"] == self._positions().get(job_id)

    def _pick(self, pick: int, *statuses: str) -> str:
        chosen = self.queue.of(*statuses) if statuses else list(self.queue.jobs)
        return chosen[pick % len(chosen)]

    def _tell(self, by: Person, path: str, body: Any, status: int) -> Any:
        answer = self.yard.ask("POST", path, body, by=by.name)
        assert answer.status_code == status, (path, answer.text)
        return answer.json()

    @precondition(lambda self: self.queue.jobs)
    @rule(by=bosses, pick=picks, waiting_only=st.booleans())
    def cancel_any(self, by: Person, pick: int, waiting_only: bool) -> None:
        job_id = self._pick(pick)
        ran = self.queue.jobs[job_id].status == "running"
        status = self.queue.cancel(by, job_id, waiting_only=waiting_only)
        self._tell(by, f"/api/{'queue' if waiting_only else 'jobs'}/{job_id}/cancel", None, status)
        if status == 200 and ran:
            self.yard.wait(job_id, "cancelled")

    @precondition(lambda self: self.queue.of("running"))
    @rule(pick=picks)
    def cancel_running(self, pick: int) -> None:
        job_id = self._pick(pick, "running")
        assert self.queue.cancel(PEOPLE["owner"], job_id) == 200
        assert self._tell(PEOPLE["owner"], f"/api/jobs/{job_id}/cancel", None, 200)["processing_held"]
        self.yard.wait(job_id, "cancelled")

    @precondition(lambda self: self.queue.jobs)
    @rule(by=bosses, first=picks, number=st.integers(1, 4), how=st.sampled_from(["ids", "mine", "all", "pending"]))
    def cancel_many(self, by: Person, first: int, number: int, how: str) -> None:
        body: dict[str, Any] = {"all": True}
        chosen = [job_id for job_id in self.queue.of("blocked", "pending", "running") if self._is_of(by, job_id)]
        if how == "ids":
            chosen = list(dict.fromkeys(self._pick(first + place) for place in range(number)))
            body = {"job_ids": chosen}
        elif how == "pending":
            chosen = [job_id for job_id in self.queue.of("pending") if by.is_admin or self._is_of(by, job_id)]
            body = {"status": ["queued"]}
        elif how == "all":
            body |= {"all_users": True}
            chosen = self.queue.of("blocked", "pending", "running") if by.is_admin else []
        status = 403 if how == "all" and not by.is_admin else 200
        ran = set(self.queue.of("running"))
        cancelled = self.queue.cancel_many(by, chosen)
        said = self._tell(by, "/api/jobs/cancel", body, status)
        if status == 200:
            assert set(said["cancelled"]) == cancelled
            assert {one["job_id"] for one in said["failed"]} == set(chosen) - cancelled
            assert said["still_pending"] == len(self.queue.of("pending"))
        for job_id in cancelled & ran:
            self.yard.wait(job_id, "cancelled")

    def _is_of(self, by: Person, job_id: str) -> bool:
        return self.queue.jobs[job_id].owner is by

    @precondition(lambda self: self.queue.jobs)
    @rule(by=bosses, pick=picks, held=st.booleans())
    def hold_or_release(self, by: Person, pick: int, held: bool) -> None:
        job_id = self._pick(pick)
        path = f"/api/queue/{job_id}/{'hold' if held else 'release'}"
        self._tell(by, path, None, self.queue.hold(by, job_id, held))

    @precondition(lambda self: self.queue.of("pending", "blocked"))
    @rule(by=bosses, pick=picks, value=st.sampled_from([None, 0, 10, 25, 39, 40, 50]))
    def prioritise(self, by: Person, pick: int, value: int | None) -> None:
        job_id = self._pick(pick)
        status = self.queue.prioritise(by, job_id, value)
        said = self._tell(by, f"/api/queue/{job_id}/priority", {"priority": value}, status)
        if status == 200:
            assert said["new_effective_priority"] == self.queue.jobs[job_id].effective

    @precondition(lambda self: self.queue.of("blocked"))
    @rule(by=bosses, pick=picks, blocked=st.sampled_from([True, True, True, False]), approved=st.booleans())
    def decide(self, by: Person, pick: int, blocked: bool, approved: bool) -> None:
        job_id = self._pick(pick, *(["blocked"] if blocked else []))
        path = f"/api/queue/{job_id}/" + ("approve" if approved else "reject?reason=no")
        self._tell(by, path, None, self.queue.decide(by, job_id, approved))

    @rule(
        by=bosses,
        changes=NEW_LIMITS,
    )
    def limits(self, by: Person, changes: dict[str, Any]) -> None:
        self._limit(by, changes)

    def _limit(self, by: Person, changes: dict[str, Any]) -> None:
        self._tell(by, "/api/queue/concurrency", changes, self.queue.set_limits(by, changes))

    @rule(by=bosses)
    def process(self, by: Person) -> None:
        before = set(self.queue.of("running"))
        status = self.queue.process(by)
        said = self._tell(by, "/api/queue/process", None, status)
        if status == 200:
            assert set(said["job_ids"]) == set(self.queue.of("running")) - before

    @precondition(lambda self: self.queue.of("completed", "failed", "cancelled"))
    @rule(by=bosses, pick=picks)
    def retry(self, by: Person, pick: int) -> None:
        old = self._pick(pick, "completed", "failed", "cancelled")
        answer = self.yard.ask("POST", f"/api/jobs/{old}/retry", by=by.name)
        status, job = self.queue.retry(by, old)
        # The same command, so the same pipe; nobody reads from it any more.
        self._submitted(answer, status, job, self.pipe_of[old])

    # --- what hosts do ---

    @precondition(lambda self: self.queue.of("running"))
    @rule(pick=picks, code=st.sampled_from([0, 0, 3]))
    def end(self, pick: int, code: int) -> None:
        job_id = self._pick(pick, "running")
        pipe = self.pipe_of[job_id]
        if [self.pipe_of[other] for other in self.queue.of("running")].count(pipe) > 1:
            return  # Two retries of one job: which of them would read?
        fd = eventually(lambda: _writer(pipe), timeout=30, message=f"{job_id} never read")
        os.write(fd, f"{code}\n".encode())
        os.close(fd)
        self.yard.wait(job_id)
        self.queue.end(job_id, code)

    # --- what one sees ---

    def _positions(self) -> dict[str, int]:
        return {job_id: place for place, job_id in enumerate(self.queue.order(), start=1)}

    @invariant()
    def both_show_the_same_queue(self) -> None:
        page = self.yard.get("/api/queue?limit=200&status=running,pending,blocked")
        seen = {
            entry["job_id"]: (
                entry["status"],
                entry["position"],
                entry["allocated_gpus"] if entry["status"] == "running" else [],
                entry["held"] and entry["status"] != "running",
                entry["effective_priority"],
                {reason["code"] for reason in entry["reasons"]},
            )
            for entry in page["entries"]
        }
        places = self._positions()
        active = self.queue.of("running", "pending", "blocked")
        assert seen == {
            job_id: (
                job.status,
                places.get(job_id),
                job.gpus,
                job.held and job.status != "running",
                job.effective,
                self.queue.reasons(job_id) if job.status != "running" else set(),
            )
            for job_id, job in self.queue.jobs.items()
            if job_id in active
        }
        assert [entry["job_id"] for entry in page["entries"] if entry["position"]] == list(places)

    @invariant()
    def both_count_the_same(self) -> None:
        stats = self.yard.get("/api/queue/stats")
        assert stats["processing_held"] == self.queue.processing_held
        assert stats["total_pending"] == stats["local"]["pending_jobs"] == len(self.queue.of("pending"))
        assert stats["total_running"] == stats["local"]["running_jobs"] == len(self.queue.of("running"))
        assert stats["local"]["available_gpus"] == sorted(self.queue.free())
        assert stats["queue_depth"] == stats["running"] == 0

    def teardown(self) -> None:
        for job_id in self.queue.of("completed", "failed", "cancelled"):
            assert self.yard.job(job_id)["status"] == self.queue.jobs[job_id].status
        self.yard.post("/api/jobs/cancel", {"all": True, "all_users": True})
        eventually(lambda: self.yard.get("/api/queue/stats")["total_running"] == 0, timeout=30)


def _writer(pipe: Path) -> int:
    """The writing end; 0 while nobody reads."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


@pytest.mark.timeout(120 + 2 * RUNS * STEPS)
def test_the_api_and_the_model_agree(tmp_path: Path) -> None:
    with opened(tmp_path) as yard:
        # Kept GPUs and boosts come with waiting, which a day here does not have.
        yard.post("/api/queue/concurrency", {"reserve_after_seconds": 86_400.0})
        QueueMachine.yard, QueueMachine.folder, QueueMachine.pipes = yard, tmp_path, itertools.count()
        run_state_machine_as_test(
            QueueMachine,
            settings=settings(
                max_examples=RUNS,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                # A shorter story of a failure takes minutes to find, since every job in it really runs.
                phases=[Phase.generate, *([Phase.shrink] if "GPUYARD_MODEL_SHRINK" in os.environ else [])],
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
