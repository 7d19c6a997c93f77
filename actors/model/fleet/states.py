"""What a worker can be, as a table.

connecting  Not heard since the server's start (or since its enrolment), or heard but not yet admitted: another session
            of it was heard a moment ago. Gets no work. Left by its admission, or by silence.
idle        Admitted, beats, has no job. Left by a job, a drain, silence.
busy        Has at least one job; takes more as far as its GPUs allow. Left when it has none, by a drain, silence.
draining    Gets no new work, keeps its jobs; stays so across heartbeats, job ends and restarts. Left by undrain alone
            (and shown as offline while it is silent).
offline     Silent for longer than `offline_after`. Gets no work; its runs live on until their lease ends.
            Left by its next heartbeat.
"""

from __future__ import annotations

from enum import StrEnum

from gpuyard.actors.model.errors import InvalidTransition


class WorkerState(StrEnum):
    CONNECTING = "connecting"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


class WorkerEvent(StrEnum):
    """`HEARD` by a session that is not yet admitted; `ADMITTED` is every beat of one that is."""

    HEARD = "heard"
    ADMITTED = "admitted"
    JOB_GIVEN = "job_given"
    JOBS_DONE = "jobs_done"
    DRAINED = "drained"
    UNDRAINED = "undrained"
    SILENT = "silent"


S, E = WorkerState, WorkerEvent

TRANSITIONS: dict[tuple[WorkerState, WorkerEvent], WorkerState] = {
    (S.CONNECTING, E.HEARD): S.CONNECTING,
    (S.OFFLINE, E.HEARD): S.CONNECTING,
    (S.CONNECTING, E.ADMITTED): S.IDLE,
    (S.OFFLINE, E.ADMITTED): S.IDLE,
    (S.IDLE, E.ADMITTED): S.IDLE,
    (S.BUSY, E.ADMITTED): S.BUSY,
    (S.DRAINING, E.ADMITTED): S.DRAINING,
    (S.IDLE, E.JOB_GIVEN): S.BUSY,
    (S.BUSY, E.JOB_GIVEN): S.BUSY,
    (S.BUSY, E.JOBS_DONE): S.IDLE,
    (S.IDLE, E.JOBS_DONE): S.IDLE,
    (S.IDLE, E.DRAINED): S.DRAINING,
    (S.BUSY, E.DRAINED): S.DRAINING,
    (S.DRAINING, E.DRAINED): S.DRAINING,
    (S.DRAINING, E.UNDRAINED): S.IDLE,
    (S.DRAINING, E.JOB_GIVEN): S.DRAINING,
    (S.DRAINING, E.JOBS_DONE): S.DRAINING,
    # A worker that is not heard keeps its state, whatever happens to its jobs; a drain is remembered in its record.
    **{
        (state, event): state
        for state in (S.CONNECTING, S.OFFLINE)
        for event in (E.JOB_GIVEN, E.JOBS_DONE, E.DRAINED, E.UNDRAINED)
    },
    **{(state, E.SILENT): S.OFFLINE for state in S},
}


def step(state: WorkerState, event: WorkerEvent) -> WorkerState:
    """The next state. Raises InvalidTransition."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(f"a worker that is {state} cannot take {event}") from None
