"""One attempt at a provider, as its book keeps it.

wanted      Known, and nothing of it is at the provider: the next thing is a submit.
doubt       A call may have made its remote job: it is looked for by its token, and submitted only once enough time
            has passed without it being found.
uploading   Its files are on their way; nothing else of it is there.
submitting  The call is under way.
live        Its remote id is known: it is looked at until it has ended there, then its log is read to the end.
ended       Its end is told, again and again until the store has it (ForgetRun).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpuyard.actors.model.cloud_remote import Order, RemoteState, RemoteStatus
from gpuyard.actors.model.events import AttemptExited

PROVIDER_ERROR: Final = "provider_error"
PROVIDER_DOWN: Final = "provider_down"
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0


class Stage(StrEnum):
    WANTED = "wanted"
    DOUBT = "doubt"
    UPLOADING = "uploading"
    SUBMITTING = "submitting"
    LIVE = "live"
    ENDED = "ended"


@dataclass(slots=True)
class RemoteRun:
    """`due`, `doubt_until` and `cancel_due` are monotonic seconds, all other times epoch seconds.

    `sure`: no call can have made a remote job. `lived`: the store knows that it ran, so it is never submitted again.
    `last` is how it stood when last seen, `final` how it ended there; `misses` counts looks that said "no such job",
    `told` is the remote id that a webhook named.
    """

    order: Order
    stage: Stage = Stage.WANTED
    sure: bool = True
    uploaded: bool = False
    lived: bool = False
    remote_id: str = ""
    due: float = 0.0
    doubt_until: float = 0.0
    tries: int = 0
    busy: bool = False
    started_at: float | None = None
    last: RemoteState | None = None
    final: RemoteStatus | None = None
    misses: int = 0
    told: str = ""
    fetch_due: float = 0.0
    fetching: bool = False
    fetching_all: bool = False
    fetch_tries: int = 0
    stop_reason: str | None = None
    timed_out: bool = False
    cancelling: bool = False
    cancel_due: float = 0.0
    cancel_tries: int = 0
    progress: str = ""
    end: AttemptExited | None = None

    @property
    def fence(self) -> int:
        return self.order.fence


def pause(tries: int, dice: float, first: float = FIRST_PAUSE, last: float = LAST_PAUSE) -> float:
    """Seconds to wait after `tries` failures (from 1): twice as long each time, a quarter more or less."""
    return float(min(last, first * 2 ** (max(1, tries) - 1)) * (0.75 + dice / 2))


def exit_of(run: RemoteRun, status: RemoteStatus) -> tuple[str, int | None, str]:
    """(exit class, exit code, message) of a run that ended at its provider as `status` says."""
    if status.state is RemoteState.COMPLETED:
        return "completed", status.exit_code or 0, ""
    if run.timed_out:
        return "timeout", status.exit_code, run.stop_reason or "time limit reached"
    if run.stop_reason is not None:
        return "cancelled", status.exit_code, run.stop_reason
    if status.state is RemoteState.CANCELLED:
        return "cancelled", status.exit_code, status.message or "it was cancelled at the provider, not by gpuyard"
    return status.exit_class or "exit:1", status.exit_code, status.message
