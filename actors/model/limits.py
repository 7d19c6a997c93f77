"""Limits: the concurrency caps and their bounds (requirement "Concurrency Limits", CONTRACT "Queue routes")."""

from __future__ import annotations

import msgspec

from gpuyard.actors.model.errors import InvalidInput


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits at one moment. None lifts a limit that may be lifted."""

    max_concurrent: int = 5
    user_max_concurrent: int = 2
    team_max_concurrent: int = 10
    enable_fair_share: bool = False
    local_gpu_max_concurrent: int | None = None
    local_job_max_concurrent: int = 1
    local_cpu_job_max_concurrent: int = 1
    user_max_gpus: int | None = None
    starvation_threshold_minutes: float = 60.0
    reserve_after_seconds: float = 300.0
    cancel_hold_seconds: float | None = None
    approval_expiry_hours: float | None = None


LimitValue = int | float | bool | None

BOUNDS: dict[str, tuple[float, float]] = {
    "max_concurrent": (1, 100),
    "user_max_concurrent": (1, 20),
    "team_max_concurrent": (1, 50),
    "local_gpu_max_concurrent": (1, 1024),
    "local_job_max_concurrent": (1, 64),
    "local_cpu_job_max_concurrent": (1, 1024),
    "user_max_gpus": (1, 1024),
    "starvation_threshold_minutes": (0.001, 525_600),
    "reserve_after_seconds": (0, 86_400),
    "cancel_hold_seconds": (0, 86_400),
    "approval_expiry_hours": (0.0001, 8_760),
}
NULLABLE = frozenset({"local_gpu_max_concurrent", "user_max_gpus", "cancel_hold_seconds", "approval_expiry_hours"})
DECIMAL = frozenset(
    {"starvation_threshold_minutes", "reserve_after_seconds", "cancel_hold_seconds", "approval_expiry_hours"}
)


MEANINGS: dict[str, str] = {
    "max_concurrent": "Cloud jobs that run at once.",
    "user_max_concurrent": "Cloud jobs of one user that run at once.",
    "team_max_concurrent": "Cloud jobs of one team that run at once, with enable_fair_share.",
    "enable_fair_share": "Does the limit of teams count?",
    "local_gpu_max_concurrent": "GPUs that local jobs use at once; null: no limit.",
    "local_job_max_concurrent": "Local GPU jobs that run at once.",
    "local_cpu_job_max_concurrent": "CPU jobs that run at once; a new server has one for each core.",
    "user_max_gpus": "GPUs that one user holds at once, local and on workers; null: no limit.",
    "starvation_threshold_minutes": "Each time a job has waited so long, its priority grows by 10.",
    "reserve_after_seconds": "After so long free GPUs are kept for the first job that waits for GPUs alone.",
    "cancel_hold_seconds": "Waiting jobs start by themselves so long after a cancel; null: not before something else.",
    "approval_expiry_hours": "A blocked job fails when nobody decided on it for so long; null: it waits for ever.",
}


def changed(limits: Limits, changes: dict[str, LimitValue]) -> Limits:
    """`limits` with `changes`; an explicit None lifts, an absent key leaves. Raises InvalidInput, naming the field."""
    for field, value in changes.items():
        if field == "enable_fair_share":
            if not isinstance(value, bool):
                raise InvalidInput("enable_fair_share must be true or false", field=field)
            continue
        if field not in BOUNDS:
            raise InvalidInput(f"{field}: there is no such limit", field=field)
        low, high = BOUNDS[field]
        if value is None:
            if field not in NULLABLE:
                raise InvalidInput(f"{field} must be a number from {low:g} to {high:g}, not null", field=field)
            continue
        kind: tuple[type, ...] = (int, float) if field in DECIMAL else (int,)
        if isinstance(value, bool) or not isinstance(value, kind):
            what = "a number" if field in DECIMAL else "a whole number"
            raise InvalidInput(f"{field} must be {what} from {low:g} to {high:g}", field=field)
        if not low <= value <= high:
            raise InvalidInput(f"{field} must be from {low:g} to {high:g}", field=field)
    return msgspec.structs.replace(limits, **changes)
