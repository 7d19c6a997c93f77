"""Why a pending job waits: one code per cause, in words, with what would unblock it (DESIGN 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

# How many of the jobs that stand in the way a reason names.
BLOCKING_SHOWN = 10


class ReasonCode(StrEnum):
    AWAITING_APPROVAL = "AwaitingApproval"
    GLOBAL_LIMIT = "GlobalLimit"
    USER_LIMIT = "UserLimit"
    TEAM_LIMIT = "TeamLimit"
    LOCAL_JOB_LIMIT = "LocalJobLimit"
    LOCAL_GPU_LIMIT = "LocalGpuLimit"
    GPUS_BUSY = "GpusBusy"
    DEVICE_IDS_BUSY = "DeviceIdsBusy"
    RESERVED_FOR_JOB = "ReservedForJob"
    FOREIGN_PROCESS = "ForeignProcess"
    PRIORITY = "Priority"
    NO_MATCHING_WORKER = "NoMatchingWorker"
    WORKERS_BUSY = "WorkersBusy"
    WORKERS_OFFLINE = "WorkersOffline"
    TOO_BIG = "TooBig"
    NOT_BEFORE = "NotBefore"
    WINDOW = "Window"
    HELD = "Held"
    BACKOFF = "Backoff"
    QUEUE_PAUSED = "QueuePaused"
    PROCESSING_HELD = "ProcessingHeld"
    ORPHAN = "Orphan"
    PROVIDER_DOWN = "ProviderDown"


MEANINGS: Final[dict[ReasonCode, str]] = {
    ReasonCode.AWAITING_APPROVAL: "It is blocked until somebody who may approves it.",
    ReasonCode.GLOBAL_LIMIT: "As many cloud jobs run as `max_concurrent` allows.",
    ReasonCode.USER_LIMIT: "Its user runs as many jobs, or holds as many GPUs, as a user may.",
    ReasonCode.TEAM_LIMIT: "Its team runs as many cloud jobs as `team_max_concurrent` allows.",
    ReasonCode.LOCAL_JOB_LIMIT: "As many local GPU jobs (or CPU jobs) run as may run at once.",
    ReasonCode.LOCAL_GPU_LIMIT: "Local jobs use as many GPUs as `local_gpu_max_concurrent` allows.",
    ReasonCode.GPUS_BUSY: "Too few GPUs are free; those out of service are named.",
    ReasonCode.DEVICE_IDS_BUSY: "Too few of the GPUs that it prefers are free.",
    ReasonCode.RESERVED_FOR_JOB: "The free GPUs are kept for a job that has waited longer.",
    ReasonCode.FOREIGN_PROCESS: "Processes from outside the queue use GPUs that it could have.",
    ReasonCode.PRIORITY: "Nothing but its turn: others stand before it, or it comes next.",
    ReasonCode.NO_MATCHING_WORKER: "No registered worker fits it.",
    ReasonCode.WORKERS_BUSY: "The workers that fit it are busy.",
    ReasonCode.WORKERS_OFFLINE: "The workers that fit it are offline.",
    ReasonCode.TOO_BIG: "It asks for more GPUs than the host hands out.",
    ReasonCode.NOT_BEFORE: "Its `not_before` has not come yet.",
    ReasonCode.WINDOW: "The time window in which it may run has not come yet.",
    ReasonCode.HELD: "It is held by hand.",
    ReasonCode.BACKOFF: "Its last attempt ended early; the next one waits a little.",
    ReasonCode.QUEUE_PAUSED: "Its part of the queue is paused.",
    ReasonCode.PROCESSING_HELD: "A running job was cancelled, which starts nothing by itself.",
    ReasonCode.ORPHAN: "A run of it that this database did not order lives, or may live, on some host.",
    ReasonCode.PROVIDER_DOWN: "Its cloud provider takes no jobs.",
}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One cause.

    `text` is a sentence for a person, `detail` its figures, `blocking_jobs` the jobs that hold what is missing
    (at most 10), `unblock` what would help: a `gpuyard …` command where there is one. `never`: waiting alone
    does not help.
    """

    code: ReasonCode
    text: str
    detail: dict[str, Any] = {}
    blocking_jobs: tuple[str, ...] = ()
    unblock: str = ""
    never: bool = False
