"""Cards and drivers that fail: one card never takes the others down, and what heals is used again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.probe import ProbeFailed
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.commands import LookAtGpus
from gpuyard.actors.model.events import GpuFacts, GpusLooked
from tests.contract.gpu.benches import read
from tests.contract.nvml.conftest import Watching
from tests.fake_nvml import DRIVER_NOT_LOADED, GPU_IS_LOST, UNKNOWN, FakeGpu, Script
from tests.support import eventually
from tests.support_gpu import Allocator


def helpers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "gpuyard.actors.gpu.nvml_helper" in child.cmdline()]


@pytest.fixture
def gpus(script: Script) -> list[FakeGpu]:
    return [script.add_gpu() for _ in range(3)]


def test_a_lost_gpu_is_missing_with_the_reason_and_heals(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    allocator = watching()
    allocator.last()
    script.lose(gpus[1])
    lost = allocator.until_gpu(gpus[1].uuid, lambda fact: fact.missing)
    assert (lost.index, lost.fault, lost.name) == (1, "GPU is lost", "NVIDIA H200")
    assert [fact.usable for fact in allocator.last().gpus] == [True, False, True]
    script.find(gpus[1])
    assert allocator.until_gpu(gpus[1].uuid, lambda fact: fact.usable)


def test_a_gpu_that_is_lost_in_the_midst_of_a_reading(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    """Its name is still known to the driver, its memory is not."""
    script.fail("nvmlDeviceGetMemoryInfo_v2", GPU_IS_LOST, gpus[0])
    facts = watching().last().gpus
    assert [(fact.missing, fact.fault) for fact in facts] == [(True, "GPU is lost"), (False, None), (False, None)]


def test_a_gpu_that_was_lost_before_we_came_is_shown_by_its_index(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    script.fail("nvmlDeviceGetHandleByIndex_v2", GPU_IS_LOST, gpus[2])
    allocator = watching()
    facts = allocator.last().gpus
    assert [fact.uuid for fact in facts] == [gpus[0].uuid, gpus[1].uuid, "unreachable-2"]
    assert [fact.usable for fact in facts] == [True, True, False]
    script.heal()
    healed = allocator.until_gpu(gpus[2].uuid, lambda fact: fact.usable)
    assert healed.index == 2
    assert len(allocator.last().gpus) == 3


def test_a_card_that_is_gone_is_missing_and_seen_again_when_the_driver_is_opened_anew(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    """A driver fixes its list of cards when it is opened: only a new helper sees the card again."""
    allocator = watching(reopen=0.2)
    allocator.last()
    script.remove_gpu(gpus[1])
    allocator.until_gpu(gpus[1].uuid, lambda fact: fact.fault == "the driver does not list it any more")
    facts = allocator.last()
    assert [(fact.index, fact.uuid) for fact in facts.gpus] == [
        (-1, gpus[1].uuid),
        (0, gpus[0].uuid),
        (1, gpus[2].uuid),
    ]
    assert [fact.usable for fact in facts.gpus] == [False, True, True]
    script.insert_gpu(gpus[1], at=1)
    assert allocator.until_gpu(gpus[1].uuid, lambda fact: fact.usable).index == 1


def test_a_card_whose_memory_cannot_be_read_is_not_handed_out(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    for function in ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo"):
        script.fail(function, UNKNOWN, gpus[0])
    allocator = watching()
    assert allocator.last().gpus[0].fault == "its memory cannot be read: Unknown Error"
    assert [fact.usable for fact in allocator.last().gpus] == [False, True, True]
    script.heal()
    assert allocator.until_gpu(gpus[0].uuid, lambda fact: fact.usable)


def test_an_xid_is_a_quarantine_until_it_is_cleared(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    allocator = watching()
    allocator.last()
    script.xid(gpus[1], 31)
    script.xid(gpus[1], 79)
    fact = allocator.until_gpu(gpus[1].uuid, lambda fact: fact.fault)
    assert fact.fault == "Xid 79 (the GPU has fallen off the bus)"
    assert [fact.usable for fact in allocator.fresh().gpus] == [True, False, True]
    allocator.set_aside(gpus[1].uuid, "clear")
    assert allocator.fresh().gpus[1].usable


def test_an_xid_is_remembered_over_a_restart_until_it_is_cleared(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    """The driver tells it once, and to the first server only."""
    allocator = watching()
    allocator.last()
    script.xid(gpus[1], 79)
    allocator.until_gpu(gpus[1].uuid, lambda fact: fact.fault)
    restarted = watching()
    assert [fact.usable for fact in restarted.fresh().gpus] == [True, False, True]
    assert restarted.last().gpus[1].fault == "Xid 79 (the GPU has fallen off the bus)"
    restarted.set_aside(gpus[1].uuid, "clear")
    assert restarted.fresh().gpus[1].usable
    assert watching().last().gpus[1].usable


def test_faults_that_cannot_be_kept_are_still_faults(
    script: Script, gpus: list[FakeGpu], watching: Watching, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gpus.json.new").mkdir()
    allocator = watching()
    allocator.last()
    script.xid(gpus[1], 79)
    allocator.until_gpu(gpus[1].uuid, lambda fact: fact.fault)
    assert allocator.answers()
    assert "a restart would forget them" in caplog.text


def test_an_xid_of_a_program_is_nothing(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    allocator = watching()
    allocator.last()
    script.xid(gpus[1], 13)
    script.change(gpus[1], utilization=1)
    allocator.until_gpu(gpus[1].uuid, lambda fact: fact.utilization == 1)
    assert allocator.fresh().gpus[1].usable


def test_an_xid_of_a_card_in_mig_mode_is_its_mig_devices(script: Script, watching: Watching) -> None:
    whole, split = script.add_gpu(), script.add_gpu()
    script.enable_mig(split, 40, 40)
    allocator = watching()
    allocator.last()
    script.xid(split, 79)
    facts = allocator.until(lambda facts: facts.gpus[1].fault)
    assert [fact.uuid for fact in facts.gpus if fact.usable] == [whole.uuid]


def test_uncorrected_ecc_errors_quarantine_until_cleared_also_over_a_restart(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    allocator = watching()
    allocator.last()
    script.change(gpus[0], ecc=1)
    assert allocator.until_gpu(gpus[0].uuid, lambda fact: fact.fault).fault == "1 uncorrected ECC error"
    allocator.set_aside(gpus[0].uuid, "clear")
    assert allocator.fresh().gpus[0].usable
    restarted = watching()
    assert restarted.last().gpus[0].usable
    script.change(gpus[0], ecc=3)
    assert restarted.until_gpu(gpus[0].uuid, lambda fact: fact.fault).fault == "2 uncorrected ECC errors"


def test_ecc_errors_count_anew_when_the_driver_does(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    allocator = watching()
    allocator.last()
    script.change(gpus[0], ecc=3)
    allocator.until_gpu(gpus[0].uuid, lambda fact: fact.fault)
    allocator.set_aside(gpus[0].uuid, "clear")
    script.change(gpus[0], ecc=0)
    assert allocator.fresh().gpus[0].usable
    script.change(gpus[0], ecc=1)
    assert allocator.until_gpu(gpus[0].uuid, lambda fact: fact.fault).fault == "1 uncorrected ECC error"


def test_a_look_for_a_failed_run_shows_what_broke_since_the_last_reading(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    allocator = watching(poll=3600)
    allocator.last()
    script.xid(gpus[1], 79)
    allocator.tell(LookAtGpus(fence=7))
    assert eventually(lambda: allocator.all_of(GpusLooked))[0].fence == 7
    heard = [message for message in allocator.heard if isinstance(message, GpuFacts | GpusLooked)]
    assert isinstance(heard[-2], GpuFacts) and heard[-2].gpus[1].fault, "the facts come first"
    assert len(allocator.all_of(GpusLooked)) == 1


@pytest.mark.parametrize("hangs", [True, False])
def test_a_look_is_answered_also_when_the_driver_does_not(
    script: Script, gpus: list[FakeGpu], watching: Watching, hangs: bool
) -> None:
    allocator = watching(timeout=0.5)
    allocator.last()
    if hangs:
        script.hang("nvmlDeviceGetCount_v2")
        eventually(script.is_hanging)
    else:
        script.crash("nvmlDeviceGetCount_v2")
        allocator.until(lambda facts: facts.error)
    allocator.tell(LookAtGpus(fence=7))
    assert eventually(lambda: allocator.all_of(GpusLooked))


@pytest.mark.parametrize("function", ["nvmlDeviceGetCount_v2", "nvmlDeviceGetUtilizationRates"])
def test_a_call_that_hangs_stops_nobody_and_heals(
    script: Script, gpus: list[FakeGpu], watching: Watching, function: str
) -> None:
    allocator = watching(timeout=0.5)
    before = allocator.until(lambda facts: facts.gpus)
    script.hang(function)
    failed = allocator.until(lambda facts: facts.error)
    assert failed.error == "NVML has not answered for 0.5 s: a call into the driver hangs"
    assert [fact.uuid for fact in failed.gpus] == [fact.uuid for fact in before.gpus]
    assert allocator.answers()
    assert allocator.last().observed_at == failed.observed_at, "the facts grow old"
    script.heal()
    healed = allocator.until(lambda facts: facts.error is None)
    assert healed.observed_at > failed.observed_at
    assert len(healed.gpus) == 3


def test_a_driver_that_hangs_when_it_is_opened(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    script.hang("nvmlInitWithFlags")
    allocator = watching(timeout=0.2, start_timeout=1000)
    assert allocator.until(lambda facts: facts.error).error == "NVML is starting: the driver has not answered for 0.2 s"
    assert allocator.is_ready()
    script.heal()
    assert len(allocator.until(lambda facts: facts.error is None).gpus) == 3


def test_a_driver_that_never_opens_is_given_up_and_tried_again(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    script.hang("nvmlInitWithFlags")
    allocator = watching(timeout=0.2, start_timeout=3.0)
    assert allocator.until(lambda facts: facts.error == "NVML did not start within 3 s")
    script.heal()
    assert len(allocator.until(lambda facts: facts.error is None).gpus) == 3


def test_a_driver_that_is_not_loaded_yet(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    script.fail("nvmlInitWithFlags", DRIVER_NOT_LOADED)
    allocator = watching()
    assert allocator.until(lambda facts: facts.error).error == "NVML: Driver Not Loaded"
    assert allocator.is_ready()
    script.heal()
    assert len(allocator.until(lambda facts: facts.error is None).gpus) == 3


def test_a_library_that_crashes_takes_only_its_helper_with_it(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    allocator = watching()
    allocator.last()
    script.crash("nvmlDeviceGetName")
    assert allocator.until(lambda facts: facts.error).error == "the NVML helper was ended by SIGABRT"
    script.heal()
    assert len(allocator.until(lambda facts: facts.error is None).gpus) == 3


def test_a_library_that_prints_does_not_spoil_the_answers(
    script: Script, gpus: list[FakeGpu], watching: Watching
) -> None:
    script.say("nvmlInitWithFlags")
    script.say("nvmlDeviceGetCount_v2")
    assert len(watching().until(lambda facts: facts.error is None).gpus) == 3


def test_a_helper_that_cannot_be_started_is_an_error_and_tried_again(script: Script, gpus: list[FakeGpu]) -> None:
    """As when the server has run out of file descriptors."""
    probe = NvmlProbe(GpuSettings(), script.env())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        probe.ask()
        with pytest.raises(ProbeFailed, match="cannot be started: Too many open files"):
            probe.take()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(read(probe).gpus) == 3
    probe.close()


def test_a_helper_that_is_killed_is_replaced(script: Script, gpus: list[FakeGpu], watching: Watching) -> None:
    allocator = watching()
    allocator.last()
    (helper,) = helpers_of(os.getpid())
    helper.send_signal(signal.SIGKILL)
    allocator.until(lambda facts: facts.error == "the NVML helper was ended by SIGKILL")
    allocator.until(lambda facts: facts.error is None)
    assert [other.pid for other in helpers_of(os.getpid())] != [helper.pid]


def test_a_helper_that_not_even_sigkill_ends_gets_no_second_one_beside_it(
    script: Script, gpus: list[FakeGpu], watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a driver that hangs uninterruptibly: the kill has no effect until the call returns."""
    allocator = watching(timeout=0.5)
    allocator.until(lambda facts: facts.gpus and facts.error is None)
    (helper,) = helpers_of(os.getpid())
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)
    script.hang("nvmlDeviceGetCount_v2")
    allocator.until(lambda facts: facts.error == "the NVML helper hangs inside the driver and cannot be ended")
    assert helpers_of(os.getpid()) == [helper]
    script.heal()
    assert len(allocator.until(lambda facts: facts.error is None).gpus) == 3
    assert helper not in helpers_of(os.getpid())


def test_no_helper_is_left_even_in_the_midst_of_a_call_that_hangs(script: Script, gpus: list[FakeGpu]) -> None:
    settings = GpuSettings(poll=0.02)
    with Allocator(NvmlProbe(settings, script.env()), settings) as allocator:
        allocator.last()
        (helper,) = helpers_of(os.getpid())
        script.hang("nvmlDeviceGetCount_v2")
        eventually(script.is_hanging)
    assert not helper.is_running()


def test_the_helper_ends_with_a_server_that_is_killed(script: Script, gpus: list[FakeGpu], tmp_path: Path) -> None:
    code = """
import select
from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.settings import GpuSettings
probe = NvmlProbe(GpuSettings())
while True:
    probe.ask()
    if probe.take():
        print(flush=True)
    select.select([probe.fd], [], [], 0.05)
"""
    server = subprocess.Popen([sys.executable, "-c", code], env=script.env(), stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        server.stdout.readline()
        (helper,) = helpers_of(server.pid)
        script.hang("nvmlDeviceGetCount_v2")
        eventually(script.is_hanging)
        server.kill()
    eventually(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE)
