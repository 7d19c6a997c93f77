"""Simulated GPUs: the spec, the load of runs, injected faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.gpu.probe import ProbeFailed
from gpuyard.actors.gpu.simulated import GIB, SimulatedProbe, SimulatedSpec, parse, uuid_of
from gpuyard.actors.model.gpu_reading import Reading


class Simulation:
    """Four small GPUs under a clock that moves when told."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpu_faults.json"
        self.seconds = 0.0
        self.probe = SimulatedProbe(parse("4:Test:10"), self.file, lambda: self.seconds)

    def inject(self, faults: object) -> None:
        self.file.write_text(json.dumps(faults))

    def read(self) -> Reading:
        self.probe.ask()
        reading = self.probe.take()
        assert reading is not None
        return reading


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1", SimulatedSpec(1, "H100", 80 * GIB)),
        ("8:H200", SimulatedSpec(8, "H200", 141 * GIB)),
        ("2:RTX 4090", SimulatedSpec(2, "RTX 4090", 24 * GIB)),
        ("4:A100:40", SimulatedSpec(4, "A100", 40 * GIB)),
        ("256:Mine:0.5", SimulatedSpec(256, "Mine", GIB // 2)),
        ("3::16", SimulatedSpec(3, "H100", 16 * GIB)),
    ],
)
def test_specs(text: str, spec: SimulatedSpec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "257",
        "-1",
        "+4",
        "four",
        "1e2",
        "4:A:x",
        "4:A:0",
        "4:A:-1",
        "4:A:nan",
        "4:A:1:2",
        "4:a\nb:1",
        "٤",
        "4:" + "x" * 61,
    ],
)
def test_bad_specs_are_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"give N|MODEL is|GB is"):
        parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_spec_or_a_value_error(text: str) -> None:
    try:
        spec = parse(text)
    except ValueError:
        return
    assert 1 <= spec.count <= 256
    assert spec.memory > 0


def test_uuids_are_the_same_at_each_start(simulation: Simulation, tmp_path: Path) -> None:
    again = Simulation(tmp_path)
    assert [gpu.uuid for gpu in simulation.read().gpus] == [gpu.uuid for gpu in again.read().gpus]
    assert len({gpu.uuid for gpu in simulation.read().gpus}) == 4


def test_a_run_loads_its_gpu_and_only_while_it_runs(simulation: Simulation) -> None:
    simulation.probe.note({uuid_of(1): 7})
    simulation.seconds = 30
    busy = simulation.read().gpus
    assert busy[1].utilization is not None
    assert busy[1].utilization > 80
    assert (busy[1].memory_used or 0) > 5 * GIB
    assert (busy[0].utilization, busy[0].memory_used) == (0, 0)
    simulation.probe.note({})
    assert [gpu.memory_used for gpu in simulation.read().gpus] == [0, 0, 0, 0]


def test_a_foreign_process_comes_and_goes_with_the_file(simulation: Simulation) -> None:
    assert all(not gpu.processes for gpu in simulation.read().gpus)
    simulation.inject({"2": {"foreign": [{"pid": 99, "name": "blender", "memory_gb": 3, "user": "ann"}]}})
    gpu = simulation.read().gpus[2]
    assert [(p.pid, p.name, p.user, p.fence) for p in gpu.processes] == [(99, "blender", "ann", None)]
    assert gpu.memory_used == 3 * GIB
    simulation.file.unlink()
    assert simulation.read().gpus[2].processes == ()


def test_a_leak_stays_after_a_run_until_the_fault_is_lifted(simulation: Simulation) -> None:
    simulation.inject({"0": {"leak_gb": 2}, "1": {"leak_gb": 2}})
    assert simulation.read().gpus[0].memory_used == 0
    simulation.probe.note({uuid_of(0): 1})
    simulation.read()
    simulation.probe.note({})
    assert [gpu.memory_used for gpu in simulation.read().gpus] == [2 * GIB, 0, 0, 0]
    simulation.inject({})
    assert simulation.read().gpus[0].memory_used == 0


def test_lost_gpus_xids_and_ecc_errors(simulation: Simulation) -> None:
    simulation.inject({"0": {"lost": True}, uuid_of(3): {"xid": 79, "ecc": 2}})
    reading = simulation.read()
    assert reading.gpus[0].lost is not None
    assert [(xid.uuid, xid.number) for xid in reading.xids] == [(uuid_of(3), 79)]
    assert reading.gpus[3].ecc_uncorrected == 2
    assert simulation.read().xids == (), "reported once"


@pytest.mark.parametrize("text", ["", "[]", '{"0": {"lots": true}}', '{"0": {"leak_gb": -1}}', "\xff"])
def test_a_fault_file_that_cannot_be_read_is_an_error_that_names_it(simulation: Simulation, text: str) -> None:
    simulation.file.write_text(text, encoding="latin-1")
    for _ in range(2):
        with pytest.raises(ProbeFailed, match=r"gpu_faults\.json"):
            simulation.read()
    simulation.inject({})
    assert len(simulation.read().gpus) == 4
