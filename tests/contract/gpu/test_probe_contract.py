"""What every probe must do; the same tests for NVML (the real pynvml on a fake library) and simulated GPUs."""

from __future__ import annotations

import os

import msgspec
import psutil
import pytest

from gpuyard.actors.gpu.probe import ProbeFailed
from gpuyard.actors.model.gpu_card import WatchRules
from gpuyard.actors.model.gpu_reading import Reading
from gpuyard.actors.model.gpu_watch import GpuWatch
from tests.contract.gpu.benches import COUNT, Bench
from tests.support import eventually

GIB = 1024**3


def test_every_gpu_has_an_identity_an_index_and_a_size(bench: Bench) -> None:
    gpus = bench.read().gpus
    assert [gpu.index for gpu in gpus] == list(range(COUNT))
    assert len({gpu.uuid for gpu in gpus}) == COUNT
    for gpu in gpus:
        assert gpu.name
        assert gpu.memory_total == 80 * GIB
        assert gpu.memory_used == 0
        assert gpu.utilization == 0
        assert 20 < (gpu.temperature_c or 0) < 50
        assert 20 < (gpu.power_w or 0) < 150
        assert (gpu.lost, gpu.error, gpu.mig, gpu.processes) == (None, None, False, ())


def test_nothing_changes_while_nothing_happens(bench: Bench) -> None:
    assert bench.read() == bench.read()


def test_a_process_from_outside_comes_and_goes_with_its_memory(bench: Bench) -> None:
    bench.somebody_comes(1, os.getpid(), 12)
    gpu = bench.read().gpus[1]
    assert [(p.pid, p.memory_bytes, p.fence, p.seen, p.graphics) for p in gpu.processes] == [
        (os.getpid(), 12 * GIB, None, True, False)
    ]
    assert gpu.memory_used == 12 * GIB
    assert [gpu.memory_used for gpu in bench.read().gpus if gpu.index != 1] == [0, 0]
    bench.everybody_leaves(1)
    gpu = bench.read().gpus[1]
    assert (gpu.processes, gpu.memory_used) == ((), 0)


def test_a_lost_gpu_is_told_in_words_and_the_others_go_on(bench: Bench) -> None:
    bench.read()
    bench.lose(1)
    reading = bench.read()
    lost = {gpu.index: gpu.lost for gpu in reading.gpus if gpu.lost} | reading.unreachable
    assert list(lost) == [1]
    assert "GPU is lost" in str(lost[1])
    assert [gpu.index for gpu in reading.gpus if gpu.lost is None and gpu.error is None] == [0, 2]
    bench.find(1)
    assert [gpu.lost for gpu in bench.read().gpus] == [None] * COUNT


def test_an_xid_is_told_once(bench: Bench) -> None:
    uuids = [gpu.uuid for gpu in bench.read().gpus]
    bench.xid(2, 79)
    assert [(xid.uuid, xid.number) for xid in bench.read().xids] == [(uuids[2], 79)]
    assert bench.read().xids == ()
    bench.xid(2, 48)
    assert [(xid.uuid, xid.number) for xid in bench.read().xids] == [(uuids[2], 48)]


def test_uncorrected_ecc_errors_are_counted(bench: Bench) -> None:
    bench.ecc(0, 3)
    assert bench.read().gpus[0].ecc_uncorrected == 3


def test_a_breakdown_is_an_error_in_words_and_heals(bench: Bench) -> None:
    before = bench.read()
    bench.break_down()
    with pytest.raises(ProbeFailed) as failure:
        bench.read()
    assert len(str(failure.value)) > 5
    bench.repair()

    def healed() -> bool:
        try:
            return bench.read() == before
        except ProbeFailed:
            return False

    assert eventually(healed, 30)


def test_asking_again_while_a_reading_is_under_way_is_harmless(bench: Bench) -> None:
    before = bench.read()
    for _ in range(5):
        bench.probe.ask()
    assert bench.read() == before


def test_a_reading_survives_the_way_to_another_process(bench: Bench) -> None:
    bench.somebody_comes(0, os.getpid(), 1)
    bench.xid(1, 48)
    reading = bench.read()
    assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading


def test_the_watch_understands_it(bench: Bench) -> None:
    watch = GpuWatch(WatchRules(), at_once=bench.probe.at_once)
    bench.read()
    bench.somebody_comes(0, os.getpid(), 12)
    bench.lose(2)
    watch.observe(bench.read(), 1.0)
    bench.xid(1, 48)
    facts = watch.observe(bench.read(), 2.0).facts
    assert [(bool(f.foreign), bool(f.fault), f.missing) for f in facts][:2] == [
        (True, False, False),
        (False, True, False),
    ]
    assert facts[2].missing


def test_close_leaves_nothing_behind(bench: Bench) -> None:
    bench.read()
    me = psutil.Process()
    bench.probe.close()
    bench.probe.close()
    assert [child for child in me.children() if "nvml_helper" in " ".join(child.cmdline())] == []
