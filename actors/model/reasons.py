"""Why a pending job waits: one code per cause, in words, with what would unblock it (DESIGN 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


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
    PROVIDER_DOWN = "ProviderDown"


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
