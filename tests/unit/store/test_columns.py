"""A job or attempt that is stored and read again is the same one; times keep their milliseconds."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from gpuyard.actors.model.attempt import Attempt, GpuRef, Phase
from gpuyard.actors.model.clock import epoch, iso
from gpuyard.actors.model.commit import InsertAttempt, InsertJob
from gpuyard.actors.model.job import Job, JobSpec, Status, Target
from gpuyard.actors.store import columns, writes
from gpuyard.actors.store.faults import GuardFailed
from gpuyard.actors.store.reads import ATTEMPTS, JOBS
from gpuyard.actors.store.schema import MIGRATIONS
from tests.support_store import T0, job_of
from tests.unit.store.scratch import scratch

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
number = st.integers(-(2**63), 2**63 - 1)
moment = st.floats(0, 4e9)
finite = st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
maybe = st.none

specs = st.builds(
    JobSpec,
    argv=st.lists(text, max_size=3).map(tuple),
    workdir=maybe() | text,
    env=st.dictionaries(text, text, max_size=3),
    config_name=maybe() | text,
    config_text=maybe() | text,
    name=maybe() | text,
    target=st.sampled_from(Target),
    provider=maybe() | text,
    worker_labels=st.dictionaries(text, text, max_size=2),
    num_processes=st.integers(0, 1024),
    device_ids=st.lists(st.integers(0, 64), max_size=3).map(tuple),
    any_gpu=st.booleans(),
    estimated_cost=finite,
    time_limit=maybe() | finite,
    not_before=maybe() | moment,
    max_attempts=st.integers(0, 100),
    retry_on=st.lists(text, max_size=2).map(tuple),
    metadata=st.dictionaries(text, json, max_size=3),
)
jobs = st.builds(
    Job,
    id=st.integers(1, 2**62),
    job_id=text,
    user_id=number,
    spec=specs,
    seq=number,
    queued_at=moment,
    ranked_at=moment,
    status=st.sampled_from(Status),
    team_id=maybe() | text,
    priority=number,
    priority_override=maybe() | number,
    started_at=maybe() | moment,
    completed_at=maybe() | moment,
    requires_approval=st.booleans(),
    approval_id=maybe() | number,
    attempt=number,
    error_message=maybe() | text,
    exit_code=maybe() | number,
    exit_class=maybe() | text,
    held=st.booleans(),
    wait_until=maybe() | moment,
    cancel_requested=st.booleans(),
    cost_usd=maybe() | finite,
    retry_of=maybe() | text,
)
attempts = st.builds(
    Attempt,
    fence=st.integers(1, 2**62),
    job_id=st.just("job000001"),
    number=number,
    phase=st.sampled_from(Phase),
    host=text,
    gpus=st.lists(st.builds(GpuRef, text, st.integers(0, 1000)), max_size=4).map(tuple),
    assigned_at=moment,
    started_at=maybe() | moment,
    ended_at=maybe() | moment,
    pid=maybe() | number,
    exit_code=maybe() | number,
    exit_class=maybe() | text,
    error=maybe() | text,
    stop_reason=maybe() | text,
)


def _plain(value: Any, times: tuple[str, ...]) -> dict[str, Any]:
    """All fields; times as the text that is stored."""
    fields = {field: getattr(value, field) for field in value.__struct_fields__}
    return {field: iso(item) if field in times and item is not None else item for field, item in fields.items()}


@settings(max_examples=150, deadline=None)
@given(jobs)
def test_a_job_comes_back_as_it_was(job: Job) -> None:
    with scratch() as connection:
        writes.apply(connection, [InsertJob(job)])
        back = columns.job_from(connection.execute(JOBS).fetchone())
    times = ("queued_at", "ranked_at", "started_at", "completed_at", "wait_until")
    assert _plain(back, times) == _plain(job, times)


@settings(max_examples=100, deadline=None)
@given(attempts)
def test_an_attempt_comes_back_as_it_was(attempt: Attempt) -> None:
    with scratch() as connection:
        writes.apply(connection, [InsertJob(job_of(1)), InsertAttempt(attempt)])
        back = columns.attempt_from(connection.execute(ATTEMPTS).fetchone())
    times = ("assigned_at", "started_at", "ended_at")
    assert _plain(back, times) == _plain(attempt, times)


@given(moment)
def test_a_stored_time_is_stable_and_within_a_millisecond(at: float) -> None:
    assert abs(epoch(iso(at)) - at) <= 0.000_501
    assert iso(epoch(iso(at))) == iso(at)


@given(moment, moment)
def test_text_order_is_time_order(one: float, other: float) -> None:
    assert (one <= other) <= (iso(one) <= iso(other))


def test_text_that_no_encoding_has_is_stored_with_question_marks() -> None:
    odd = "caf\udce9/\ud800"
    spec = JobSpec(argv=(odd,), metadata={odd: [odd, 1, None]}, name=odd)
    with scratch() as connection:
        writes.apply(connection, [InsertJob(job_of(1, spec=spec, error_message=odd))])
        job = columns.job_from(connection.execute(JOBS).fetchone())
    assert (job.error_message, job.spec.argv, job.spec.name) == ("caf?/?", ("caf?/?",), "caf?/?")
    assert job.spec.metadata == {"caf?/?": ["caf?/?", 1, None]}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_spec_that_could_not_be_read_again_is_refused(bad: float) -> None:
    with scratch() as connection:
        with pytest.raises(GuardFailed, match="job000001 cannot be stored"):
            writes.apply(connection, [InsertJob(job_of(1, spec=JobSpec(estimated_cost=bad)))])
        assert connection.execute("SELECT count(*) FROM queue").fetchone() == (0,)


def test_a_number_that_no_column_holds_is_refused() -> None:
    with scratch() as connection, pytest.raises(GuardFailed, match="does not fit"):
        writes.apply(connection, [InsertJob(job_of(1, priority=10**20))])


def test_a_job_without_options_fills_the_columns_of_the_requirement() -> None:
    spec = JobSpec(argv=("x",), config_name="sdxl", num_processes=2, metadata={"run_name": "r"}, estimated_cost=1.5)
    with scratch() as connection:
        connection.row_factory = sqlite3.Row
        writes.apply(connection, [InsertJob(job_of(7, spec=spec))])
        row = dict(connection.execute("SELECT * FROM queue").fetchone())
    assert row["metadata"] == '{"run_name":"r"}'
    expected = {
        "id": 7, "job_id": "job000007", "user_id": 1, "team_id": None, "provider": "local", "config_name": "sdxl",
        "priority": 30, "status": "pending", "position": 7, "queued_at": "2023-11-14T22:13:27.000Z",
        "estimated_cost": 1.5, "requires_approval": 0, "attempt": 1, "max_attempts": 3, "allocated_gpus": None,
        "job_type": "local", "num_processes": 2,
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected


def test_what_never_changes_cannot_be_changed() -> None:
    for field in ("id", "job_id", "spec", "nonsense"):
        with pytest.raises(ValueError, match=field):
            columns.job_change(field, 1)
    for field in ("fence", "job_id", "nonsense"):
        with pytest.raises(ValueError, match=field):
            columns.attempt_change(field, 1)


def test_each_field_of_a_job_has_its_column() -> None:
    renamed = {"seq": "position"}
    fields = {renamed.get(field, field) for field in Job.__struct_fields__} - {"spec"}
    assert fields == set(columns.JOB_READ)
    assert fields <= set(columns.JOB_COLUMNS)
    assert set(Attempt.__struct_fields__) == set(columns.ATTEMPT_COLUMNS)


def test_json_is_compact_and_exact() -> None:
    assert columns.to_json({"a": (1, 2.5, None, "ü")}) == '{"a":[1,2.5,null,"ü"]}'
    assert columns.from_json(columns.to_json(10**20)) == 10**20
    with pytest.raises(msgspec.DecodeError):
        columns.from_json("{")
    assert MIGRATIONS.is_dir()
    assert iso(T0) == "2023-11-14T22:13:20.000Z"
