"""One run of this host: as it was ordered, and as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commands import WantRun
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.wire import Report

LOST = "lost"


@dataclass(slots=True, kw_only=True)
class Order:
    """`want` is None for a run that was found here without an order (`ordered` False), and for one that was told to
    stop before it was ever ordered. `kept`: the keeper has been told of it, or has told us. `until` is where its lease
    ends as things stand (CLOCK_BOOTTIME); `emptied` are GPUs of it that are empty since it ended.
    """

    fence: int
    want: WantRun | None = None
    spec_hash: str = ""
    incarnation: str = ""
    ordered: bool = True
    stop_reason: str | None = None
    kept: bool = False
    job_id: str = ""
    uuids: tuple[str, ...] = ()
    pid: int = 0
    started_at: float | None = None
    until: float | None = None
    end: AttemptExited | None = None
    emptied: set[str] = field(default_factory=set)

    def gone(self) -> bool:
        """It has ended, and its GPUs are empty."""
        return self.end is not None and self.emptied.issuperset(self.uuids)

    @property
    def phase(self) -> Phase:
        if self.end is not None:
            return Phase.LOST if self.end.exit_class == LOST else Phase.EXITED
        if self.stop_reason is not None:
            return Phase.STOPPING
        if self.started_at is not None:
            return Phase.RUNNING
        return Phase.STARTING if self.kept else Phase.ASSIGNED

    def report(self) -> Report:
        """As a heartbeat tells it."""
        end = self.end
        return Report(
            phase=self.phase,
            job_id=self.job_id,
            spec_hash=self.spec_hash,
            pid=self.pid,
            started_at=self.started_at if end is None else end.started_at,
            ended_at=end.ended_at if end is not None else None,
            exit_class=end.exit_class if end is not None else None,
            exit_code=end.exit_code if end is not None else None,
            message=end.message if end is not None else "",
            uuids=self.uuids,
            emptied=self.gone(),
            ordered=self.ordered,
        )


def ordered(want: WantRun, spec_hash: str, incarnation: str) -> Order:
    return Order(
        fence=want.run.fence,
        want=want,
        spec_hash=spec_hash,
        incarnation=incarnation,
        job_id=want.run.job_id,
        uuids=tuple(gpu.uuid for gpu in want.run.gpus),
        until=want.lease_until,
    )
