"""What readings of the GPUs mean for the queue: facts, GPUs that are empty again, quarantines. Pure (DESIGN 7).

Readings, starts and releases go in; `observe` says what to tell. Identity is the UUID throughout: an index may
change with a reboot. A reading counts for a release or a look only when it began after that was asked, since an
older one may show the GPU as it was before the run touched it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Literal, NamedTuple

from msgspec.structs import replace

from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.gpu_card import Asides, Card, WatchRules
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.1, 1.0, 1.3
FENCES_REMEMBERED = 4096


class Emptied(NamedTuple):
    """These GPUs of the run `fence` are empty, or quarantined instead."""

    fence: int
    uuids: tuple[str, ...]


class Foreigners(NamedTuple):
    """Some time after the start of the run `fence` these processes from outside the queue were on its GPU."""

    fence: int
    uuid: str
    processes: tuple[GpuProcess, ...]


class Observation(NamedTuple):
    """`facts` are those of all GPUs, by index; `emptied` and `foreign` are new with this reading."""

    facts: tuple[GpuFact, ...]
    emptied: list[Emptied]
    foreign: list[Foreigners]


@dataclass
class _Release:
    """`left`: GPUs that are not yet empty. `quiet`: nobody waits for the answer."""

    since: float
    left: set[str]
    quiet: bool
    looks: int = 0

    def pause(self) -> float:
        """Seconds until the next look: at once, then growing."""
        return min(LAST_PAUSE, FIRST_PAUSE * GROWTH ** (self.looks - 1)) if self.looks else 0.0


@dataclass
class _Look:
    due: float
    uuids: tuple[str, ...]


class GpuWatch:
    """`at_once`: GPUs are empty the moment their run ends (simulated); a leak is quarantined all the same.
    `asides` is changed in place. `holders` (UUID → fence) are the runs on GPUs that are not yet empty of them."""

    def __init__(self, rules: WatchRules, *, at_once: bool = False, asides: Asides | None = None) -> None:
        self.rules = rules
        self.at_once = at_once
        self.asides = asides or Asides()
        self.holders: dict[str, int] = {}
        self._cards: dict[str, Card] = {}
        self._runs: dict[int, frozenset[str]] = {}
        self._releases: dict[int, _Release] = {}
        self._looks: dict[int, _Look] = {}
        # Ended runs: a process of one of these is a stray, while a fence never heard of is a run from before a restart.
        self._ended: OrderedDict[int, None] = OrderedDict()

    # --- what the Scheduler and the administrator say ---

    def start(self, fence: int, uuids: tuple[str, ...], now: float) -> None:
        """The run `fence` starts on (or, after a restart, is on) these GPUs. A repeat is harmless."""
        if fence in self._runs:
            return
        self._ended.pop(fence, None)
        self._runs[fence] = frozenset(uuids)
        self._looks[fence] = _Look(now + self.rules.look_seconds, uuids)
        for uuid in uuids:
            before = self.holders.get(uuid)
            if before is not None and before not in self._releases:
                # Its GPU was given to another run: it has ended, and nobody waits for its GPUs.
                self._releases[before] = _Release(now, set(self._runs[before]), quiet=True)
            self.holders[uuid] = fence
            if uuid in self._cards:
                self._cards[uuid].left_by = None
        for other, release in list(self._releases.items()):
            release.left.difference_update(uuids)
            self._end_if_done(other)

    def release(self, fence: int, uuids: tuple[str, ...], now: float) -> tuple[str, ...]:
        """The run `fence` ended: watch these GPUs until they are empty. Returns those known to be so at once."""
        self._looks.pop(fence, None)
        if fence not in self._releases:
            self._runs[fence] = self._runs.get(fence, frozenset()) | frozenset(uuids)
            self._releases[fence] = _Release(now, set(uuids), quiet=self.at_once)
            for uuid in uuids:
                self.holders.setdefault(uuid, fence)
        return uuids if self.at_once else ()

    @property
    def running(self) -> dict[str, int]:
        """UUID → fence of the run that lives there."""
        return {uuid: fence for uuid, fence in self.holders.items() if fence not in self._releases}

    def set_aside(self, uuid: str, action: Literal["exclude", "include", "clear"]) -> None:
        """Raises NotFound for a GPU that was never seen."""
        card = self._cards.get(uuid)
        if card is None:
            raise NotFound(f"no GPU {uuid} is known here: `gpuyard gpus` lists them", uuid=uuid)
        if action == "clear":
            card.clear()
        else:
            self.asides.by_hand[uuid] = action == "exclude"

    def pause(self) -> float:
        """Seconds until a reading is wanted for a release; infinity when the regular ones do."""
        return min((r.pause() for r in self._releases.values() if not r.quiet), default=inf)

    # --- what the probe says ---

    def observe(self, reading: Reading, began: float) -> Observation:
        """Judge a reading that began at `began` (monotonic seconds)."""
        self._take_in(reading)
        emptied = self._settle(began)
        foreign = self._look_again(began)
        return Observation(self.facts(reading.unreachable), emptied, foreign)

    def facts(self, unreachable: dict[int, str]) -> tuple[GpuFact, ...]:
        """The last reading with what was said since; `unreachable` as in Reading."""
        for card in self._cards.values():
            card.held = card.uuid in self.holders
            if card.left_by is not None and card.empty_of(card.left_by):
                card.left_by = None
            card.learn_idle()
        facts = _with_own_index([card.fact() for card in self._cards.values()])
        facts += _placeholders(unreachable, {fact.index for fact in facts if fact.missing})
        return tuple(sorted(facts, key=lambda fact: (fact.index, fact.uuid)))

    def _take_in(self, reading: Reading) -> None:
        listed = {read.uuid: read for read in reading.gpus}
        for uuid in listed.keys() - self._cards.keys():
            self._cards[uuid] = Card(uuid, self.rules, self.asides)
        all_answer = not reading.unreachable and all(read.lost is None for read in reading.gpus)
        for uuid, card in list(self._cards.items()):
            destroyed = card.last.mig and uuid not in listed and uuid not in self.holders and all_answer
            # Now in MIG mode, or a MIG device that was destroyed: neither is a card that went missing.
            if uuid in reading.replaced or destroyed:
                del self._cards[uuid]
            else:
                card.take(listed.get(uuid) or _unreached(card, reading), partial(self._may_be_on, card))
        for xid in reading.xids:
            if xid.uuid in self._cards:
                self._cards[xid.uuid].take_xid(xid.number)

    def _may_be_on(self, card: Card, fence: int) -> bool:
        """Is a process of this run where it belongs? A run not yet told of (after a restart) gets the benefit."""
        if fence in self._runs:
            return card.uuid in self._runs[fence]
        return card.left_by == fence or fence not in self._ended

    def _settle(self, began: float) -> list[Emptied]:
        emptied = []
        for fence, release in list(self._releases.items()):
            if began < release.since:
                continue
            release.looks += 1
            late = began - release.since >= self.rules.release_seconds
            done = tuple(sorted(uuid for uuid in release.left if self._done(uuid, fence, late)))
            release.left.difference_update(done)
            if done and not release.quiet:
                emptied.append(Emptied(fence, done))
            self._end_if_done(fence)
        return emptied

    def _done(self, uuid: str, fence: int, late: bool) -> bool:
        """May the hold on this GPU close? When it is not empty in time it is quarantined first."""
        card = self._cards.get(uuid)
        if card is not None and self.holders.get(uuid) == fence and not card.empty_of(fence):
            if not late:
                return False
            card.left_by = fence
        if self.holders.get(uuid) == fence:
            del self.holders[uuid]
        return True

    def _end_if_done(self, fence: int) -> None:
        if not self._releases[fence].left:
            del self._releases[fence]
            del self._runs[fence]
            self._ended[fence] = None
            while len(self._ended) > FENCES_REMEMBERED:
                self._ended.popitem(last=False)

    def _look_again(self, began: float) -> list[Foreigners]:
        seen = []
        for fence in [fence for fence, look in self._looks.items() if began >= look.due]:
            for uuid in self._looks.pop(fence).uuids:
                card = self._cards.get(uuid)
                if card is not None and card.use.foreign and self.rules.external != "ignore":
                    seen.append(Foreigners(fence, uuid, card.use.foreign))
        return seen


def _unreached(card: Card, reading: Reading) -> ReadGpu | None:
    """A known card that the driver still counts but cannot name any more; None when it does not even count it."""
    why = reading.unreachable.get(card.last.index)
    return None if why is None else replace(card.last, lost=why, processes=())


def _with_own_index(facts: list[GpuFact]) -> list[GpuFact]:
    """A missing card whose place another card has taken since (the driver counts anew) has no index any more."""
    taken = {fact.index for fact in facts if not fact.missing}
    return [replace(fact, index=-1) if fact.missing and fact.index in taken else fact for fact in facts]


def _placeholders(unreachable: dict[int, str], missing: set[int]) -> list[GpuFact]:
    """GPUs that were never seen whole, so that a person sees that they are there; a missing one stands for itself."""
    return [
        GpuFact(uuid=f"unreachable-{index}", index=index, missing=True, fault=why)
        for index, why in unreachable.items()
        if index not in missing
    ]
