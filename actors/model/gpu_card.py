"""One GPU as it is remembered between readings, and what the last reading of it means: faults, emptiness, its fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec.structs import replace

from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.gpu_faults import size, xid_fault
from gpuyard.actors.model.gpu_reading import ReadGpu, ReadProcess
from gpuyard.actors.model.gpu_use import NOBODY, Use, idle_limit, margin, use_of

External = Literal["avoid", "warn", "ignore"]


@dataclass(frozen=True)
class WatchRules:
    """`external`: processes from outside the queue keep a GPU from being handed out (avoid), are only shown (warn)
    or not looked at (ignore). `excluded`: indices or UUIDs (or their beginnings) kept out of the queue. A GPU that
    is not empty `release_seconds` after its run is quarantined; `look_seconds` after a start foreigners are looked
    for once more."""

    external: External = "avoid"
    excluded: tuple[str, ...] = ()
    release_seconds: float = 60.0
    look_seconds: float = 5.0


class Asides(msgspec.Struct):
    """What must not be forgotten about GPUs, by UUID: kept out (or in) by hand; uncorrected ECC errors cleared; Xid
    faults not yet cleared, which the driver tells only once. Those end with the boot `boot_id`, which resets a GPU."""

    by_hand: dict[str, bool] = {}
    ecc: dict[str, int] = {}
    xids: dict[str, list[str]] = {}
    boot_id: str = ""


class Card:
    """`held`: a run of ours is on it, or was and it is not yet empty. `left_by`: the fence of a run that left
    something behind and is blamed for it. `read` is None while the driver does not list the GPU."""

    def __init__(self, uuid: str, rules: WatchRules, asides: Asides) -> None:
        self.uuid = uuid
        self.rules = rules
        self.asides = asides
        self.read: ReadGpu | None = None
        self.last = ReadGpu(uuid=uuid, index=-1)
        self.use: Use = NOBODY
        self.held = False
        self.left_by: int | None = None
        self._idle: int | None = None
        self._accepted: int | None = None

    # --- what happens to it ---

    def take(self, read: ReadGpu | None, may_be_here: Callable[[int], bool]) -> None:
        """The newest reading; None when the driver does not list it."""
        self.read = read
        self.use = use_of(read, may_be_here) if read is not None else NOBODY
        self.last = read or self.last
        if (self.last.ecc_uncorrected or 0) < self.asides.ecc.get(self.uuid, 0):
            # The driver was loaded anew and counts from 0.
            self.asides.ecc[self.uuid] = self.last.ecc_uncorrected or 0

    def take_xid(self, number: int) -> None:
        fault = xid_fault(number)
        known = self.asides.xids.get(self.uuid, [])
        if fault and fault not in known:
            self.asides.xids[self.uuid] = [*known, fault]

    def clear(self) -> None:
        """Take it as it now is: its faults are known, what lies in its memory is accepted."""
        self.asides.xids.pop(self.uuid, None)
        self.left_by = None
        self._accepted = self.use.rest
        if self.last.ecc_uncorrected:
            self.asides.ecc[self.uuid] = self.last.ecc_uncorrected

    def learn_idle(self) -> None:
        """Remember how much memory is in use while nobody is on it."""
        rest = self.use.rest
        unused = not (self.held or self.use.ours or self.use.foreign or self.left_by is not None)
        if unused and rest is not None and rest <= idle_limit(self.last.memory_total):
            self._idle, self._accepted = rest, None

    # --- what it means ---

    @property
    def here(self) -> bool:
        """The driver lists it and reaches it."""
        return self.read is not None and self.read.lost is None

    def empty_of(self, fence: int) -> bool:
        """No process of the run is left and its memory is back. A GPU that is gone holds nothing; where foreigners
        keep it from being handed out, they take over the blame for its memory."""
        if not self.here:
            return True
        if any(process.fence == fence for process in self.use.ours):
            return False
        if self.use.foreign and self.rules.external == "avoid":
            return True
        return self.use.rest is not None and self.use.rest <= self._level()

    def _level(self) -> int:
        """Bytes in use up to which the memory counts as back: as it was while nobody used it, where that is known."""
        total = self.last.memory_total
        if self._idle is None or self.use.vague:
            return max(idle_limit(total), self._allowed())
        return max(self._idle + margin(total), self._allowed())

    def _allowed(self) -> int:
        """What `clear` accepted; 0 without."""
        return 0 if self._accepted is None else self._accepted + margin(self.last.memory_total)

    def foreign(self) -> tuple[GpuProcess, ...]:
        """Processes from outside the queue; one of pid 0 when only unexplained memory tells of somebody."""
        rest = self.use.rest
        if self.use.foreign or self.held or self.use.ours or self.left_by is not None or rest is None:
            return self.use.foreign
        limit = max(idle_limit(self.last.memory_total), self._allowed())
        return (GpuProcess(0, memory_bytes=rest),) if rest > limit else ()

    def fact(self) -> GpuFact:
        last = self.last
        base = GpuFact(
            uuid=self.uuid,
            index=last.index,
            name=last.name,
            memory_total=last.memory_total,
            excluded=self._excluded(),
            mig=last.mig,
        )
        if not self.here:
            return replace(base, missing=True, fault=self._why_missing())
        foreign, faults = self.foreign(), list(self._faults())
        return replace(
            base,
            memory_used=last.memory_used or 0,
            utilization=last.utilization,
            temperature_c=last.temperature_c,
            power_w=last.power_w,
            foreign=foreign if self.rules.external == "avoid" else (),
            tolerated=foreign if self.rules.external == "warn" else (),
            fault="; ".join(faults) or None,
            clearable=bool(faults) and not last.error,
        )

    def _why_missing(self) -> str:
        return (self.read.lost if self.read else None) or "the driver does not list it any more"

    def _faults(self) -> Iterator[str]:
        if self.last.error:
            yield self.last.error
        yield from self.asides.xids.get(self.uuid, [])
        errors = (self.last.ecc_uncorrected or 0) - self.asides.ecc.get(self.uuid, 0)
        if errors > 0:
            yield f"{errors} uncorrected ECC error{'s' * (errors > 1)}"
        if self.left_by is not None:
            yield self._left_behind(self.left_by)

    def _left_behind(self, fence: int) -> str:
        used = f"{size(self.last.memory_used or 0)} in use"
        culprits = ", ".join(_culprit(process) for process in self.use.ours)
        if culprits:
            return f"run {fence} ended but is still on it: {culprits}; {used}"
        return f"run {fence} left memory behind: {used} and no process is listed"

    def _excluded(self) -> bool:
        named = any(_names(entry, self.uuid, self.last.index) for entry in self.rules.excluded)
        return self.asides.by_hand.get(self.uuid, named)


def _names(entry: str, uuid: str, index: int) -> bool:
    return entry == str(index) if entry.isdigit() else bool(entry) and uuid.startswith(entry)


def _culprit(process: ReadProcess) -> str:
    about = [process.name] if process.name else []
    about += [size(process.memory_bytes)] if process.memory_bytes else []
    return f"pid {process.pid}" + (f" ({', '.join(about)})" if about else "")
