"""The bodies of all other requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gpuyard.actors.model import limits
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.api.schemas import fields
from gpuyard.api.schemas.fields import Strict, rule

STATUSES = ("blocked", "pending", "queued", "running", "completed", "failed", "cancelled")
CANCELLABLE = ("blocked", "pending", "queued", "running")


def cancellable(value: object) -> str:
    if value not in CANCELLABLE:
        raise ValueError("must be one of blocked, pending, queued, running")
    return "pending" if value == "queued" else str(value)


class CancelBody(Strict):
    """Exactly one of `all`, `status`, `job_ids`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"all": True}, {"status": ["pending"]}]})

    all: bool | None = None
    all_users: bool = False
    status: Annotated[list[Annotated[str, rule(cancellable, str)]], Field(min_length=1, max_length=8)] | None = None
    job_ids: Annotated[list[fields.JobId], Field(min_length=1, max_length=10_000)] | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> CancelBody:
        if [bool(self.all), self.status is not None, self.job_ids is not None].count(True) != 1:
            raise PydanticCustomError("not_allowed", "give exactly one of all, status and job_ids")
        return self


class PriorityBody(Strict):
    """`priority` null ends the override; it must be there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 35}, {"priority": None}]})

    priority: fields.Override | None


class TargetsBody(Strict):
    """`targets`, or all of them where none is named."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"targets": ["local", "worker"]}, {}]})

    targets: Annotated[
        list[Literal["local", "worker", "cloud"]], Field(min_length=1, max_length=3, description="Where.")
    ] = ["local", "worker", "cloud"]


def _limit(name: str, schema: Any) -> Any:
    def check(value: object) -> Any:
        try:
            limits.changed(limits.Limits(), {name: value})  # type: ignore[dict-item]
        except InvalidInput as error:
            raise ValueError(error.detail.removeprefix(name).lstrip(": ")) from None
        return value

    low, high = limits.BOUNDS.get(name, (None, None))
    shown = Annotated[schema, Field(ge=low, le=high, description=limits.MEANINGS[name])]
    return rule(check, shown | None if name in limits.NULLABLE else shown)


class LimitsBody(Strict):
    """Only what is there changes; an explicit null lifts a limit that may be lifted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"max_concurrent": 10, "user_max_concurrent": 3},
                {"local_gpu_max_concurrent": 6, "local_job_max_concurrent": 2},
            ]
        }
    )

    max_concurrent: Annotated[int, _limit("max_concurrent", int)] = 5
    user_max_concurrent: Annotated[int, _limit("user_max_concurrent", int)] = 2
    team_max_concurrent: Annotated[int, _limit("team_max_concurrent", int)] = 10
    enable_fair_share: Annotated[bool, _limit("enable_fair_share", bool)] = False
    local_gpu_max_concurrent: Annotated[int | None, _limit("local_gpu_max_concurrent", int)] = None
    local_job_max_concurrent: Annotated[int, _limit("local_job_max_concurrent", int)] = 1
    local_cpu_job_max_concurrent: Annotated[int, _limit("local_cpu_job_max_concurrent", int)] = 1
    user_max_gpus: Annotated[int | None, _limit("user_max_gpus", int)] = None
    starvation_threshold_minutes: Annotated[float, _limit("starvation_threshold_minutes", float)] = 60.0
    reserve_after_seconds: Annotated[float, _limit("reserve_after_seconds", float)] = 300.0
    cancel_hold_seconds: Annotated[float | None, _limit("cancel_hold_seconds", float)] = None
    approval_expiry_hours: Annotated[float | None, _limit("approval_expiry_hours", float)] = None

    def changes(self) -> dict[str, Any]:
        """Exactly the limits that the body names."""
        return self.model_dump(exclude_unset=True)
