"""Peers that hold a key and are broken or hostile: refused or ignored, counted, and nothing else is harmed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec.structs import replace

from gpuyard.actors.model.events import AttemptExited, AttemptStarted, GpuEmptied, OrphanSeen
from gpuyard.actors.model.gpu import GpuFact
from tests.unit.fleet.stage import Machine, Stage, ended, fence, running

WILD_BEATS: list[dict[str, Any]] = [
    {"session": "s" * 10_000},
    {"incarnation": "i" * 10_000},
    {"journal": "j" * 10_000},
    {"life": 1 << 63},
    {"life": -1},
    {"n": 1 << 63},
    {"sent_at": math.nan},
    {"sent_at": math.inf},
    {"version": "9" * 10_000},
    {"error": "e" * 10_000},
    {"labels": {f"label{i}": "x" for i in range(10_000)}},
    {"labels": {"": "x"}},
    {"labels": {"gpu": "x" * 10_000}},
    {"gpus": tuple(GpuFact(uuid=str(i), index=i) for i in range(10_000))},
    {"attempts": {fence(i): running(1) for i in range(10_000)}},
]
WILD_REPORTS: list[dict[str, Any]] = [
    {"pid": 1 << 40},
    {"pid": -1},
    {"exit_code": 1 << 63},
    {"exit_code": -(1 << 40)},
    {"started_at": math.nan},
    {"started_at": -1.0},
    {"ended_at": math.inf},
    {"ended_at": 1e300},
    {"exit_class": "x" * 10_000},
    {"message": "m" * 10_000},
    {"job_id": "j" * 10_000},
    {"uuids": tuple(str(i) for i in range(10_000))},
    {"uuids": ("u" * 10_000,)},
]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def machine(stage: Stage) -> Machine:
    """It runs fence 1."""
    machine = Machine(stage)
    machine.beat()
    stage.want(1)
    machine.reports[fence(1)] = running(1)
    machine.beat()
    return machine


def nothing_happened(stage: Stage) -> bool:
    return not any(stage.said(kind) for kind in (AttemptStarted, AttemptExited, GpuEmptied, OrphanSeen))


@pytest.mark.parametrize("fields", WILD_BEATS, ids=lambda fields: next(iter(fields)))
def test_a_heartbeat_out_of_bounds_is_refused_as_a_whole(stage: Stage, machine: Machine, fields: Any) -> None:
    before = stage.fleet.workers["w"].beat
    sync = machine.beat(**fields)
    assert sync.refused and sync.want == {} and nothing_happened(stage)
    assert stage.fleet.counters["malformed"] == 1 and stage.fleet.workers["w"].beat is before
    assert machine.beat().refused == "", "and it may go on"


@pytest.mark.parametrize("fields", WILD_REPORTS, ids=lambda fields: next(iter(fields)))
def test_a_report_out_of_bounds_never_reaches_the_store(stage: Stage, machine: Machine, fields: Any) -> None:
    machine.reports[fence(1)] = replace(ended(1), **fields)
    assert machine.beat().refused and nothing_happened(stage)
    assert stage.fleet.counters["malformed"] == 1


@pytest.mark.parametrize("number", [-5, 0, 1 << 70])
def test_a_fence_that_is_none_ends_nothing_that_we_know(stage: Stage, machine: Machine, number: int) -> None:
    machine.reports[number] = ended(2)
    machine.beat()
    assert fence(1) not in [end.fence for end in stage.said(AttemptExited)]
    assert stage.fleet.workers["w"].jobs == ["job1"]


def test_a_replayed_heartbeat_of_anybody_is_ignored_and_counted(stage: Stage, machine: Machine) -> None:
    beat = machine.heartbeat()
    machine.send(beat)
    for _ in range(5):
        assert machine.send(beat) == []
    stage.enrol("v")
    stranger = Machine(stage, "v")
    assert stranger.send(beat) != [], "to its own key it is a worker like any other"
    assert stage.fleet.counters["anothers_fence"] == 1
    assert stage.fleet.counters["stale_beat"] == 5


def test_a_worker_that_says_it_is_another_one_is_the_one_of_its_key(stage: Stage, machine: Machine) -> None:
    stage.enrol("v")
    liar = Machine(stage, "v", session="w-session", incarnation="w-boot1", journal="w-journal")
    liar.fields["name"] = "w"
    liar.reports[fence(1)] = ended(1)
    liar.beat()
    assert stage.said(AttemptExited) == [] and not stage.fleet.workers["w"].wants[fence(1)].ended
