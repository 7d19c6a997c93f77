"""What a host's keeper is told of runs."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.run_spec import RunSpec as RunSpec


class WantRun(Message, frozen=True, kw_only=True):
    """This run shall live. From: Scheduler. To: ProcessKeeper (or a worker).

    Answered by events: AttemptStarted, AttemptExited. `started` tells that the store already knows it to have
    lived: then an unknown run is not started but reported lost. Repeat: by fence; a known run is not started
    again, a known end is reported again.

    `host` is where it shall live; on a worker `lease_seconds` is how long it may live without word from the server
    (None: policy `hold`, for ever), and `checkpoint_signal` is sent to it when two thirds of that have passed.
    `lease_until` is where that time ends as things stand (CLOCK_BOOTTIME of the host, seconds); RenewLeases moves it.
    `lease_grace` bounds the seconds from TERM to KILL when it has.

    At a provider (To: CloudDispatcher) `token` names the attempt, `asked_at` (epoch seconds) is when it was assigned,
    `again` tells that it may have been begun already, `options` are the provider's own (JobSpec.provider_options).
    """

    run: RunSpec
    started: bool = False
    host: str = LOCAL_HOST
    lease_seconds: float | None = None
    checkpoint_signal: str | None = None
    lease_until: float | None = None
    lease_grace: float | None = None
    token: str = ""
    asked_at: float = 0.0
    again: bool = False
    name: str = ""
    options: dict[str, Any] = {}


class RenewLeases(Message, frozen=True, kw_only=True):
    """The server was heard: these runs may live until then. From: the worker's agent. To: ProcessKeeper.

    `until` is fence → CLOCK_BOOTTIME of this host, in seconds. A run that has no lease is left without one, an
    earlier time than the known one changes nothing. Repeat: harmless.
    """

    until: dict[int, float]


class WantStop(Message, frozen=True, kw_only=True):
    """This run shall end: CONT, TERM, grace, KILL, sweep. From: Scheduler. To: ProcessKeeper.

    `run` as in WantRun's fence; an unknown fence that never started is reported as exited, never started.
    `reason` in words ("cancelled by owner"). Repeat: harmless.
    """

    fence: int
    reason: str = ""
    host: str = LOCAL_HOST


class ForgetRun(Message, frozen=True, kw_only=True):
    """The end of this run is durable: stop reporting it; keep its log. From: Scheduler. To: ProcessKeeper.

    To: WorkerRegistry for a run on a worker. There `released` tells that none of its GPUs is held any more, durably
    too: only then the worker may forget the run, since it alone can say that they are empty. Repeat: harmless.
    """

    fence: int
    host: str = LOCAL_HOST
    released: bool = False


class PurgeRuns(Message, frozen=True, kw_only=True):
    """Delete the folders and logs of these ended runs. From: Scheduler. To: ProcessKeeper, a worker's too.

    Repeat: harmless.
    """

    fences: tuple[int, ...]


class SetRunsAside(Message, frozen=True, kw_only=True):
    """From now on another database is followed, whose fences mean other runs: what lies here of those that have ended
    must not be taken for them. From: a worker's agent. To: ProcessKeeper. `owner` names whose they were.

    Repeat: harmless.
    """

    owner: str


class WatchRuns(Message, frozen=True, kw_only=True):
    """Tell RunsAdopted now. From: a worker's agent, at its start: the first word came before it was there. To:
    ProcessKeeper. Repeat: harmless."""


class WantedComplete(Message, frozen=True, kw_only=True):
    """All live attempts of the store have been wanted: a run that was adopted but not wanted is an orphan (it keeps
    running and is reported, never stopped). From: Scheduler. To: ProcessKeeper, after a rebuild. Repeat: harmless.

    `owner` is what the tokens of this database begin with."""

    fences: tuple[int, ...]
    owner: str = ""
