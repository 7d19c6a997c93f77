"""Attempt: one try of a job, known by its fence; its phases as a table.

assigned   Committed with its GPU holds; the host has not yet said that it lives. Left by the keeper's report.
starting   The host has the order and is launching. Left by the report of pid and start time.
running    The program lives. Left by its exit, or when a stop is asked.
stopping   A stop is asked (cancel, time limit); CONT, TERM, grace, KILL, sweep. Left when no process is left.
exited     The end was reported under the current fence. Final.
lost       Contact ended and the outcome is unknown. Final; a later report is stored as late and changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gpuyard.actors.model.errors import InvalidTransition

LOCAL_HOST = "local"
CLOUD_HOST_PREFIX = "cloud:"


class Phase(StrEnum):
    ASSIGNED = "assigned"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"
    LOST = "lost"


class AttemptEvent(StrEnum):
    ACCEPTED = "accepted"
    STARTED = "started"
    STOP_ASKED = "stop_asked"
    EXITED = "exited"
    LOST = "lost"


P, E = Phase, AttemptEvent

TRANSITIONS: dict[tuple[Phase, AttemptEvent], Phase] = {
    (P.ASSIGNED, E.ACCEPTED): P.STARTING,
    (P.ASSIGNED, E.STARTED): P.RUNNING,
    (P.STARTING, E.STARTED): P.RUNNING,
    (P.RUNNING, E.STARTED): P.RUNNING,
    (P.STOPPING, E.STARTED): P.STOPPING,
    (P.ASSIGNED, E.STOP_ASKED): P.STOPPING,
    (P.STARTING, E.STOP_ASKED): P.STOPPING,
    (P.RUNNING, E.STOP_ASKED): P.STOPPING,
    (P.STOPPING, E.STOP_ASKED): P.STOPPING,
    **{(phase, E.EXITED): P.EXITED for phase in (P.ASSIGNED, P.STARTING, P.RUNNING, P.STOPPING)},
    **{(phase, E.LOST): P.LOST for phase in (P.ASSIGNED, P.STARTING, P.RUNNING, P.STOPPING)},
}

LIVE = frozenset({P.ASSIGNED, P.STARTING, P.RUNNING, P.STOPPING})


class GpuRef(msgspec.Struct, frozen=True, gc=False):
    """One GPU of one host: `uuid` is the identity, `index` is for display and CUDA_VISIBLE_DEVICES."""

    uuid: str
    index: int


class Attempt(msgspec.Struct, kw_only=True, gc=False):
    """One try. Times are epoch seconds; `exit_code` is the program's, 128+N after signal N, None if it never ran."""

    fence: int
    job_id: str
    number: int
    phase: Phase = Phase.ASSIGNED
    host: str = LOCAL_HOST
    gpus: tuple[GpuRef, ...] = ()
    assigned_at: float
    started_at: float | None = None
    ended_at: float | None = None
    pid: int | None = None
    exit_code: int | None = None
    exit_class: str | None = None
    error: str | None = None
    stop_reason: str | None = None


def step(attempt: Attempt, event: AttemptEvent) -> Phase:
    """Move `attempt` along the table; the only place that sets a phase. Raises InvalidTransition."""
    try:
        attempt.phase = TRANSITIONS[attempt.phase, event]
    except KeyError:
        raise InvalidTransition(
            f"attempt {attempt.fence} is {attempt.phase}: it cannot take {event}", fence=attempt.fence
        ) from None
    return attempt.phase


def is_worker(host: str) -> bool:
    """Is `host` the id of a worker?"""
    return host != LOCAL_HOST and not host.startswith(CLOUD_HOST_PREFIX)
