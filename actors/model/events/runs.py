"""What a host tells of its runs."""

from __future__ import annotations

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.message import Message


class RunsAdopted(Message, frozen=True, kw_only=True):
    """The boot scan has ended. From: ProcessKeeper. To: Scheduler. `live` are the fences whose runs live, `ended`
    those whose end is known and not yet acknowledged, `jobs` the job ids of the live ones. Told again when all wanted
    runs are known. Repeat: harmless."""

    live: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()
    jobs: dict[int, str] = {}


class AttemptAccepted(Message, frozen=True, kw_only=True):
    """A provider has taken the attempt; its program does not live yet. From: CloudDispatcher. To: Scheduler.

    `remote_id` is what the provider calls it, `url` where a person finds it there. Repeat: harmless.
    """

    fence: int
    remote_id: str
    url: str = ""


class AttemptProgress(Message, frozen=True, kw_only=True):
    """How far a run is, in a few words of its host. From: CloudDispatcher. To: Scheduler. Repeat: harmless."""

    fence: int
    progress: str


class AttemptStarted(Message, frozen=True, kw_only=True):
    """The program lives. From: ProcessKeeper. To: Scheduler. `at` is epoch seconds. Repeat: harmless."""

    fence: int
    pid: int
    at: float


class AttemptExited(Message, frozen=True, kw_only=True):
    """No process of the run is left. From: ProcessKeeper. To: Scheduler. Repeat: until ForgetRun; harmless.

    `exit_code` None with `exit_class` `start_failed` or `lost`. `message` says why in words. `started_at` and
    `ended_at` are the keeper's own stamps (epoch seconds). `host` is where it ran; `cost_usd` what its provider says
    that it cost (None: it does not say).
    """

    fence: int
    exit_class: str
    exit_code: int | None = None
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    host: str = LOCAL_HOST
    cost_usd: float | None = None


class OrphanSeen(Message, frozen=True, kw_only=True):
    """A run lives on `host` that this database does not want. From: ProcessKeeper, CloudDispatcher. To: Scheduler.

    Repeat: harmless."""

    fence: int
    job_id: str
    pid: int = 0
    uuids: tuple[str, ...] = ()
    host: str = LOCAL_HOST
