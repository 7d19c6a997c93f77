"""Any order of runs, leaks, foreigners and readings: no GPU is called empty that is not, and none is kept for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpuyard.actors.model.gpu_reading import ReadGpu, ReadProcess
from tests.unit.gpu.readings import Watched, gpu, process

UUIDS = ("GPU-a", "GPU-b", "GPU-c")
uuids = st.sampled_from(UUIDS)


@dataclass
class Truth:
    """What really is on one GPU. `leak` in GiB."""

    processes: dict[int, ReadProcess] = field(default_factory=dict)
    leak: float = 0.0

    def reading(self, index: int, uuid: str) -> ReadGpu:
        used = self.leak + sum((p.memory_bytes or 0) / 2**30 for p in self.processes.values())
        return gpu(uuid, *self.processes.values(), index=index, used=used)

    def of_run(self, fence: int) -> bool:
        return any(p.fence == fence for p in self.processes.values())

    @property
    def foreign(self) -> bool:
        return any(p.fence is None for p in self.processes.values())


class GpusInUse(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.truth = {uuid: Truth() for uuid in UUIDS}
        self.watched = Watched()
        self.pids = 100
        self.fences = 0
        self.live: dict[int, set[str]] = {}
        self.waiting: dict[int, set[str]] = {}
        self.asked_at: dict[int, float] = {}
        self._look(0.1)

    def _look(self, after: float) -> None:
        told = len(self.watched.emptied)
        self.watched.see(*(self.truth[uuid].reading(i, uuid) for i, uuid in enumerate(UUIDS)), after=after)
        for fence, emptied in self.watched.emptied[told:]:
            for uuid in emptied:
                self._check_emptied(fence, uuid)
                self.waiting[fence].remove(uuid)

    def _check_emptied(self, fence: int, uuid: str) -> None:
        truth, fact = self.truth[uuid], self.watched.facts[uuid]
        assert uuid in self.waiting[fence], "told twice, or never asked"
        if fact.usable:
            assert not truth.of_run(fence)
            assert truth.leak <= 1.6
        elif fact.fault is not None:
            assert self.watched.now - self.asked_at[fence] >= 60
        else:
            assert truth.foreign

    def _add(self, uuid: str, **more: object) -> None:
        self.pids += 1
        self.truth[uuid].processes[self.pids] = process(self.pids, **more)  # type: ignore[arg-type]

    # --- what happens ---

    @rule(wanted=st.sets(uuids, min_size=1), memory=st.sampled_from([0.0, 0.3, 10.0]))
    def a_run_starts_where_it_may(self, wanted: set[str], memory: float) -> None:
        taken = {uuid for held in (*self.live.values(), *self.waiting.values()) for uuid in held}
        free = {uuid for uuid in wanted - taken if self.watched.facts[uuid].usable}
        if not free:
            return
        self.fences += 1
        self.live[self.fences] = free
        self.watched.start(self.fences, *sorted(free))
        for uuid in sorted(free):
            self._add(uuid, memory=memory, fence=self.fences)

    @rule(leak=st.sampled_from([0.0, 0.0, 4.0]), lingers=st.booleans())
    def the_oldest_run_ends(self, leak: float, lingers: bool) -> None:
        if not self.live:
            return
        fence = min(self.live)
        held = self.live.pop(fence)
        for uuid in held:
            truth = self.truth[uuid]
            if not lingers:
                truth.processes = {pid: p for pid, p in truth.processes.items() if p.fence != fence}
            truth.leak += leak
        self.waiting[fence], self.asked_at[fence] = set(held), self.watched.now
        self.watched.release(fence, *sorted(held))

    @rule(uuid=uuids)
    def somebody_comes(self, uuid: str) -> None:
        self._add(uuid, memory=3.0)

    @rule(uuid=uuids)
    def all_but_live_runs_leave(self, uuid: str) -> None:
        truth = self.truth[uuid]
        truth.processes = {pid: p for pid, p in truth.processes.items() if p.fence in self.live}
        truth.leak = 0.0

    @rule(after=st.sampled_from([0.1, 1.0, 61.0]))
    def it_is_read(self, after: float) -> None:
        self._look(after)

    # --- what must hold ---

    @invariant()
    def no_release_waits_for_ever(self) -> None:
        late = [f for f, left in self.waiting.items() if left and self.watched.now - self.asked_at[f] >= 60.2]
        assert not late

    @rule()
    def what_is_used_from_outside_is_not_handed_out(self) -> None:
        self._look(0.1)
        for uuid, truth in self.truth.items():
            assert not (truth.foreign and self.watched.facts[uuid].usable)

    @rule()
    def once_all_is_quiet_every_gpu_is_free(self) -> None:
        for fence in list(self.live):
            self.waiting[fence], self.asked_at[fence] = self.live.pop(fence), self.watched.now
            self.watched.release(fence, *sorted(self.waiting[fence]))
        for truth in self.truth.values():
            truth.processes.clear()
            truth.leak = 0.0
        self._look(0.1)
        assert all(fact.usable for fact in self.watched.facts.values())
        assert not any(self.waiting.values())
        assert self.watched.watch.holders == {}


TestGpusInUse = GpusInUse.TestCase
TestGpusInUse.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
