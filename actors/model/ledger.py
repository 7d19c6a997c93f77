"""The GPU ledger of one host: facts (from the allocator) and open holds (of the Scheduler) → states and free GPUs.

Invariant: a GPU has at most one open hold. It is handed out only when it has none and its fact, at most
`FACTS_MAX_AGE` seconds old, shows nothing in the way (DESIGN 7).
"""

from __future__ import annotations

from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commit import Hold
from gpuyard.actors.model.errors import InvalidTransition
from gpuyard.actors.model.events import GpuFacts
from gpuyard.actors.model.gpu import GpuFact, GpuState

FACTS_MAX_AGE = 2.0


class Ledger:
    """`facts` are keyed by UUID, `holds` too."""

    def __init__(self) -> None:
        self.facts: dict[str, GpuFact] = {}
        self.backend = "none"
        self.at_once = False
        self.error: str | None = None
        self.revision = -1
        self.observed_at = float("-inf")
        self.holds: dict[str, Hold] = {}
        self.releasing: set[str] = set()
        self._usable: list[GpuFact] = []
        self._free: list[GpuFact] | None = None

    def learn(self, facts: GpuFacts) -> bool:
        """Take in newer facts; True when they change what can be handed out."""
        if facts.revision < self.revision:
            return False
        before = [fact.uuid for fact in self._usable]
        self.revision, self.observed_at = facts.revision, facts.observed_at
        self.backend, self.at_once, self.error = facts.backend, facts.at_once, facts.error
        self.facts = {fact.uuid: fact for fact in facts.gpus}
        self._usable = sorted((f for f in facts.gpus if f.usable), key=lambda fact: fact.index)
        self._free = None
        return before != [fact.uuid for fact in self._usable]

    def refresh(self, gpus: tuple[GpuFact, ...], revision: int, observed_at: float) -> None:
        """Newer readings of GPUs that stand as before."""
        self.revision, self.observed_at = revision, observed_at
        self.facts = {fact.uuid: fact for fact in gpus}

    def fresh(self, monotonic: float) -> bool:
        """Are the facts young enough to hand a GPU out? Simulated ones cannot grow stale."""
        return self.at_once or monotonic - self.observed_at <= FACTS_MAX_AGE

    @property
    def free(self) -> list[GpuFact]:
        """GPUs that nothing stands in the way of, by index."""
        if self._free is None:
            self._free = [fact for fact in self._usable if fact.uuid not in self.holds]
        return self._free

    @property
    def known(self) -> list[GpuFact]:
        """All GPUs of the host but the excluded ones, by index."""
        return sorted((f for f in self.facts.values() if not f.excluded), key=lambda fact: fact.index)

    def hold(self, hold: Hold) -> None:
        if hold.uuid in self.holds:
            raise InvalidTransition(f"GPU {hold.index} is held by {self.holds[hold.uuid].fence}", uuid=hold.uuid)
        self.holds[hold.uuid] = hold
        self._free = None

    def start_releasing(self, fence: int) -> None:
        """The attempt ended; the GPU is not free before it is known to be empty."""
        self.releasing.update(uuid for uuid, hold in self.holds.items() if hold.fence == fence)

    def release(self, fence: int, uuids: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Close the holds of `fence` (of `uuids` only, when given); which ones there were."""
        mine = tuple(uuid for uuid, hold in self.holds.items() if hold.fence == fence and (not uuids or uuid in uuids))
        for uuid in mine:
            del self.holds[uuid]
            self.releasing.discard(uuid)
        self._free = None
        return mine

    def held_by(self, fence: int) -> tuple[GpuRef, ...]:
        return tuple(GpuRef(h.uuid, h.index) for h in self.holds.values() if h.fence == fence)

    def state(self, uuid: str) -> GpuState:
        fact = self.facts.get(uuid)
        if uuid in self.holds:
            return GpuState.RELEASING if uuid in self.releasing else GpuState.HELD
        if fact is None or fact.missing:
            return GpuState.MISSING
        if fact.excluded:
            return GpuState.EXCLUDED
        if fact.fault:
            return GpuState.QUARANTINED
        return GpuState.BUSY_EXTERNAL if fact.foreign else GpuState.FREE

    def with_index(self, index: int) -> GpuFact | None:
        return next((fact for fact in self.facts.values() if fact.index == index), None)
