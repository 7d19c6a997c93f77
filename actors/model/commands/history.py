"""What the edges ask of History and the logs; read only."""

from __future__ import annotations

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.message import Message


class ListJobs(Message, frozen=True, kw_only=True):
    """A page of all jobs, newest first. From: Frontend. To: History. Reply: HistoryPage.

    `statuses` empty = all; `user_id` None = all users; `target` and `name` filter when given, `search` finds a piece of
    the id, name or config's name, in any case; `finished_only`
    orders by completion, newest first (the tail of GET /api/queue). Repeat: harmless.
    """

    statuses: tuple[str, ...] = ()
    user_id: int | None = None
    target: str | None = None
    name: str | None = None
    search: str | None = None
    finished_only: bool = False
    limit: int = 50
    offset: int = 0


class GetJob(Message, frozen=True, kw_only=True):
    """One job with its attempts and events, as stored. From: Frontend. To: History.

    Reply: JobRecord. Errors: NotFound (also for an ambiguous prefix). `job_id` may be a unique prefix when
    `prefix`. With `user_id` only that user's jobs exist. Repeat: harmless.
    """

    job_id: str
    prefix: bool = False
    user_id: int | None = None


class GetEvents(Message, frozen=True, kw_only=True):
    """Stored events after event id `after`, oldest first. From: Frontend. To: History. Reply: list of EventRow.

    `job_id` narrows to one job. Repeat: harmless.
    """

    after: int = 0
    job_id: str | None = None
    limit: int = 1000


class ListAudit(Message, frozen=True, kw_only=True):
    """What people did, newest first: lines of the audit and job events with somebody behind them, by time.

    `before` is that of the page before, "" for the first; `user_id` and `username` say who did it, `actions` what,
    `since` and `until` when (epoch seconds). A page may hold fewer than `limit` and go on all the same: each looks at a
    bounded piece of the story. From: Frontend. To: History. Reply: AuditPage. Errors: InvalidInput (a `before` that was
    never given out). Repeat: harmless.
    """

    before: str = ""
    limit: int = 100
    user_id: int | None = None
    username: str | None = None
    actions: tuple[str, ...] = ()
    job_id: str | None = None
    since: float | None = None
    until: float | None = None


class GetRunTimes(Message, frozen=True, kw_only=True):
    """Seconds that past completed runs of these configs took (at most 50 each, newest first). From: Frontend.
    To: History. Reply: dict config name → list of seconds. Repeat: harmless."""

    config_names: tuple[str, ...]


class GetLastEvent(Message, frozen=True, kw_only=True):
    """From: Frontend. To: History. Reply: (oldest kept event id, newest event id), 0 when there is none."""


class GetWaits(Message, frozen=True, kw_only=True):
    """How long the jobs that started last had waited. From: Frontend. To: History.

    Reply: list of seconds from submit to start, newest first, at most `limit`. Repeat: harmless.
    """

    limit: int = 1_000


class GetTimeline(Message, frozen=True, kw_only=True):
    """Which jobs used which GPUs since `since` (epoch seconds). From: Frontend. To: History.

    Reply: list of TimelineSpan, the newest attempts first, at most `limit` attempts looked at. Repeat: harmless.
    """

    since: float
    limit: int = 2_000


class ReadLog(Message, frozen=True, kw_only=True):
    """A piece of a run's log. From: Frontend. To: LogReader. Reply: LogChunk.

    `fence` names the run, `host` where it is or was: that of a worker is read there, over the bulk socket. `offset`
    None reads the last `limit` bytes. Errors: NotFound when the log is gone; Unavailable while its worker is not
    connected; Busy. Repeat: harmless.
    """

    fence: int
    offset: int | None = None
    limit: int = 65_536
    host: str = LOCAL_HOST
