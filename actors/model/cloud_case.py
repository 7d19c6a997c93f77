"""What all parts of a provider's book share: its runs, its pace, and what a step wants done and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gpuyard.actors.model.cloud_calls import CloudCall
from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_pace import Pace
from gpuyard.actors.model.cloud_remote import Capabilities, Remote, RemoteStatus
from gpuyard.actors.model.cloud_run import RemoteRun, Stage
from gpuyard.actors.model.cloud_strays import Strays
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.events import AttemptAccepted, AttemptExited, AttemptProgress, AttemptStarted
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now


@dataclass
class Effects:
    """What one step wants: `calls` to the provider, `tells` to the Scheduler; `changed`: the circuit did."""

    calls: list[CloudCall] = field(default_factory=list)
    tells: list[Message] = field(default_factory=list)
    changed: bool = False


class Case:
    """`next_at` is when (monotonic) something is due although nothing was told."""

    def __init__(self, provider: str, capabilities: Capabilities, circuit: Circuit, dice: Callable[[], float]) -> None:
        self.provider = provider
        self.host = f"{CLOUD_HOST_PREFIX}{provider}"
        self.capabilities = capabilities
        self.pace = Pace(circuit, capabilities.poll_seconds, dice)
        self.strays = Strays()
        self.runs: dict[int, RemoteRun] = {}
        self.next_at = 0.0
        self.out = Effects()

    def due(self, at: float, now: Now) -> bool:
        """Is it time? If not, be advanced again when it is."""
        if at <= now.monotonic:
            return True
        self.wake(at)
        return False

    def wake(self, at: float) -> None:
        self.next_at = min(self.next_at, at)

    def doubt(self, run: RemoteRun, now: Now) -> None:
        """A call may have made its remote job, or it is gone: look for it from now on."""
        run.stage, run.due = Stage.DOUBT, now.monotonic
        run.doubt_until = now.monotonic + self.capabilities.settle_seconds

    def live(self, run: RemoteRun, remote: Remote, now: Now) -> None:
        """It is there, and known by its id."""
        run.stage, run.remote_id, run.sure = Stage.LIVE, remote.id, False
        run.misses = 0
        self.pace.look_soon(now)
        self.out.tells.append(AttemptAccepted(fence=run.fence, remote_id=remote.id, url=remote.url))

    def end(
        self, run: RemoteRun, exit_class: str, code: int | None, message: str, status: RemoteStatus | None = None
    ) -> None:
        """Nothing of it is left there."""
        run.stage = Stage.ENDED
        run.end = AttemptExited(
            fence=run.fence,
            exit_class=exit_class,
            exit_code=code,
            message=message,
            started_at=run.started_at,
            ended_at=status.ended_at if status is not None else None,
            host=self.host,
            cost_usd=status.cost_usd if status is not None else None,
        )
        self.report(run)

    def progress(self, run: RemoteRun, words: str) -> None:
        """How far it is, told when it changes."""
        if words and words != run.progress:
            run.progress = words
            self.out.tells.append(AttemptProgress(fence=run.fence, progress=words))

    def report(self, run: RemoteRun) -> None:
        """Tell, perhaps again, how it is."""
        if run.end is not None:
            self.out.tells.append(run.end)
        elif run.started_at is not None:
            self.out.tells.append(AttemptStarted(fence=run.fence, pid=0, at=run.started_at))
