"""Maintenance: no job starts at a paused target; what runs there goes on. It holds over restarts, until resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gpuyard.actors.model import policy
from gpuyard.actors.model.commands import PauseQueue, ResumeQueue
from gpuyard.actors.model.commit import PutSetting
from gpuyard.actors.model.errors import InvalidInput, NotAllowed
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.views import QueuePauses
from gpuyard.actors.model.yard import PAUSABLE, PAUSED_SETTING, Yard

WHERE: Final = {"local": "on this machine", "worker": "on workers", "cloud": "in the cloud"}


def pause(yard: Yard, command: PauseQueue, now: Now, out: Outbox) -> QueuePauses:
    """Raises NotAllowed, InvalidInput."""
    targets = _targets(command.targets, command.by)
    fresh = targets - yard.paused
    if fresh:
        _set(yard, yard.paused | fresh, out)
        out.row(yard.event(out, now, "queue_paused", by=command.by, targets=sorted(fresh)))
    return QueuePauses(paused=sorted(yard.paused))


def resume(yard: Yard, command: ResumeQueue, now: Now, out: Outbox) -> QueuePauses:
    """It asks for work to start, whether something was paused or not. Raises NotAllowed, InvalidInput."""
    targets = _targets(command.targets, command.by)
    ended = targets & yard.paused
    if ended:
        _set(yard, yard.paused - ended, out)
        out.row(yard.event(out, now, "queue_resumed", by=command.by, targets=sorted(ended)))
    job_ids = policy.process(yard, now, out)
    return QueuePauses(paused=sorted(yard.paused), job_ids=job_ids)


def reasons(yard: Yard, target: str) -> Iterator[Reason]:
    """The reason of a job that waits for `target` alone, when that is paused."""
    if target in yard.paused:
        yield Reason(
            code=ReasonCode.QUEUE_PAUSED,
            text=f"The queue is paused: nothing starts {WHERE[target]}.",
            detail={"target": target, "paused": sorted(yard.paused)},
            unblock=f"gpuyard queue resume {target}",
            never=True,
        )


def _targets(targets: tuple[str, ...], by: Viewer) -> frozenset[str]:
    if not by.is_admin:
        raise NotAllowed("only an admin may pause or resume the queue")
    unknown = next((target for target in targets if target not in PAUSABLE), None)
    if unknown is not None:
        raise InvalidInput(f"targets must be among {', '.join(PAUSABLE)}, not {unknown!r}", field="targets")
    return frozenset(targets or PAUSABLE)


def _set(yard: Yard, paused: frozenset[str], out: Outbox) -> None:
    yard.paused = paused
    out.row(PutSetting(PAUSED_SETTING, sorted(paused)))
