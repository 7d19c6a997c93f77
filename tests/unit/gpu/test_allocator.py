"""The actor around the watch: when it reads, what it tells and to whom. The probe is a puppet."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pytest

from gpuyard.actors.gpu.probe import ProbeFailed
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.clock import ManualClock
from gpuyard.actors.model.commands import GetStats, WatchGpus
from gpuyard.actors.model.errors import NotFound, StoreFailed, Unsupported
from gpuyard.actors.model.events import GpuEmptied, GpuFacts
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading
from tests.support import eventually
from tests.support_gpu import Allocator
from tests.unit.gpu.readings import A, B, gpu, process

FAST = GpuSettings(poll=0.005)


class Puppet:
    """A probe that shows what the test says. While `slow`, a reading comes only when the test lets it (`answer`)."""

    backend = "cuda"
    at_once = False

    def __init__(self, *gpus: ReadGpu) -> None:
        self.gpus = gpus
        self.failure: str | None = None
        self.slow = False
        self.asked = 0
        self.running: dict[str, int] = {}
        self.closed = 0
        self._answers: deque[Reading] = deque()
        self._pending = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def fd(self) -> int | None:
        return self._fd

    def ask(self) -> bool:
        if self._pending:
            return False
        self.asked += 1
        self._pending = True
        if not self.slow:
            self.answer()
        return True

    def answer(self) -> None:
        self._answers.append(Reading(gpus=self.gpus))
        os.eventfd_write(self._fd, 1)

    def take(self) -> Reading | None:
        answer = None
        if self._answers:
            os.eventfd_read(self._fd)
            self._pending = False
            answer = self._answers.pop()
            self._answers.clear()
        if self.failure is not None:
            self._pending = False
            raise ProbeFailed(self.failure)
        return answer

    def note(self, running: Mapping[str, int]) -> None:
        self.running = dict(running)

    def close(self) -> None:
        self.closed += 1
        os.close(self._fd)


@pytest.fixture
def puppet() -> Puppet:
    return Puppet(gpu(A), gpu(B, index=1))


def test_facts_are_told_again_and_again_while_the_probe_answers(puppet: Puppet) -> None:
    with Allocator(puppet, FAST) as allocator:
        first = allocator.last()
        later = allocator.fresh(3)
    assert (first.backend, first.at_once, first.error) == ("cuda", False, None)
    assert [fact.uuid for fact in first.gpus] == [A, B]
    assert later.revision > first.revision
    assert later.observed_at > first.observed_at
    assert puppet.closed == 1


def test_nothing_is_told_before_the_first_reading(puppet: Puppet) -> None:
    puppet.slow = True
    with Allocator(puppet, FAST) as allocator:
        assert not allocator.is_ready()
        assert allocator.all_of(GpuFacts) == []
        puppet.answer()
        assert len(allocator.last().gpus) == 2
        assert allocator.is_ready()


def test_observed_at_is_when_the_reading_began_not_when_it_came(puppet: Puppet) -> None:
    puppet.slow = True
    clock = ManualClock()
    with Allocator(puppet, FAST, clock) as allocator:
        assert allocator.answers()
        clock.advance(3)
        puppet.answer()
        assert allocator.last().observed_at == clock.monotonic() - 3


def test_facts_are_told_at_once_to_a_scheduler_that_asks(puppet: Puppet) -> None:
    with Allocator(puppet, GpuSettings(poll=1000)) as allocator:
        before = allocator.last().revision
        allocator.tell(WatchGpus())
        assert allocator.until(lambda facts: facts.revision > before).gpus == allocator.last().gpus
        assert puppet.asked == 1


def test_a_failing_probe_leaves_the_old_facts_and_says_why_once(puppet: Puppet) -> None:
    with Allocator(puppet, FAST) as allocator:
        allocator.last()
        puppet.failure = "NVML has not answered for 5 s"
        failed = allocator.until(lambda facts: facts.error)
        asked = puppet.asked
        eventually(lambda: puppet.asked > asked + 3)
        assert failed.error == "NVML has not answered for 5 s"
        assert [fact.uuid for fact in failed.gpus] == [A, B]
        assert allocator.last() == failed
        assert allocator.is_ready()
        puppet.failure = None
        healed = allocator.until(lambda facts: facts.error is None)
        assert healed.observed_at > failed.observed_at


def test_ready_even_when_the_first_reading_fails(puppet: Puppet) -> None:
    puppet.failure = "Driver Not Loaded"
    with Allocator(puppet, FAST) as allocator:
        assert eventually(allocator.is_ready)
        assert allocator.last().gpus == ()


def test_a_release_is_looked_at_at_once_and_answered_after_the_facts() -> None:
    puppet = Puppet(gpu(A, process(fence=5)))
    with Allocator(puppet, GpuSettings(poll=1000)) as allocator:
        allocator.start(5, A)
        allocator.last()
        allocator.release(5, A)
        eventually(lambda: puppet.asked >= 3, message="looked again although the poll is far away")
        assert allocator.emptied() == set()
        puppet.gpus = (gpu(A),)
        eventually(lambda: allocator.emptied() == {(5, A)})
        heard = list(allocator.heard)
        at = next(i for i, message in enumerate(heard) if isinstance(message, GpuEmptied))
        told = [message for message in heard[:at] if isinstance(message, GpuFacts)][-1]
        assert told.gpus[0].usable
        assert told.gpus[0].memory_used == 0


def test_a_reading_under_way_at_the_release_is_not_believed() -> None:
    puppet = Puppet(gpu(A))
    with Allocator(puppet, GpuSettings(poll=1000)) as allocator:
        allocator.last()
        puppet.slow = True
        allocator.tell(WatchGpus())
        allocator.start(5, A)
        allocator.release(5, A)
        eventually(lambda: puppet.asked == 2)
        allocator.release(6, B)
        assert allocator.answers()
        puppet.answer()
        eventually(lambda: puppet.asked == 3)
        assert allocator.emptied() == {(5, A)}
        puppet.answer()
        eventually(lambda: allocator.emptied() == {(5, A), (6, B)})


def test_while_a_reading_is_under_way_nothing_spins(puppet: Puppet) -> None:
    puppet.slow = True
    with Allocator(puppet, GpuSettings(poll=1000)) as allocator:
        allocator.release(5, A)
        assert allocator.answers()
        assert puppet.asked == 1


def test_the_probe_is_told_which_runs_live(puppet: Puppet) -> None:
    with Allocator(puppet, FAST) as allocator:
        allocator.start(5, A, B)
        eventually(lambda: puppet.running == {A: 5, B: 5})
        allocator.release(5, A, B)
        eventually(lambda: puppet.running == {})


def test_foreigners_after_a_start_are_told() -> None:
    puppet = Puppet(gpu(A, process(77)))
    with Allocator(puppet, GpuSettings(poll=0.005, look_seconds=0.0)) as allocator:
        allocator.start(5, A)
        seen = eventually(allocator.foreign_seen)[0]
    assert (seen.fence, seen.uuid, [p.pid for p in seen.processes]) == (5, A, [77])


def test_setting_a_gpu_aside_is_told_and_kept(puppet: Puppet, tmp_path: Path) -> None:
    with Allocator(puppet, GpuSettings(poll=1000, data_dir=tmp_path)) as allocator:
        allocator.last()
        assert allocator.set_aside(B, "exclude") is True
        assert allocator.until_gpu(B, lambda fact: fact.excluded)
        with pytest.raises(NotFound):
            allocator.set_aside("GPU-nope", "exclude")
    with Allocator(Puppet(gpu(A), gpu(B, index=1)), GpuSettings(poll=1000, data_dir=tmp_path)) as restarted:
        assert [fact.excluded for fact in restarted.last().gpus] == [False, True]


def test_what_cannot_be_kept_is_refused(puppet: Puppet, tmp_path: Path) -> None:
    with Allocator(puppet, GpuSettings(poll=1000, data_dir=tmp_path / "gone")) as allocator:
        allocator.last()
        with pytest.raises(StoreFailed, match="could not be kept"):
            allocator.set_aside(B, "exclude")
        assert allocator.answers()


def test_what_becomes_of_a_gpu_is_logged_once(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    with Allocator(puppet, FAST) as allocator:
        allocator.last()
        puppet.gpus = (gpu(A, process(77)), gpu(B, index=1))
        allocator.until_gpu(A, lambda fact: not fact.usable)
        allocator.fresh()
        puppet.gpus = (gpu(A), gpu(B, index=1))
        allocator.until_gpu(A, lambda fact: fact.usable)
    lines = [record.getMessage() for record in caplog.records if record.name == "gpuyard.gpus"]
    assert lines == [
        f"GPU 0 ({A}) is not handed out: used from outside the queue by pid 77 python",
        f"GPU 0 ({A}) can be handed out again",
    ]


def test_a_message_for_somebody_else_is_refused(puppet: Puppet) -> None:
    with Allocator(puppet, FAST) as allocator, pytest.raises(Unsupported):
        allocator.ask(GetStats())
