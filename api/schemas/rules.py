"""The bodies of requests about approvals and their rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gpuyard.actors.model import bounds
from gpuyard.actors.model.approvals import MAX_NAME, MAX_PATTERN, MEANINGS
from gpuyard.api.schemas import fields
from gpuyard.api.schemas.fields import Strict, rule

Type = Annotated[
    Literal["cost_exceeds", "hardware_type", "daily_jobs_exceed", "first_job", "config_pattern", "provider"],
    Field(description=" ".join(f"{kind}: {meaning}" for kind, meaning in MEANINGS.items())),
]


def _name(value: object) -> str:
    return bounds.text(value, MAX_NAME)


def _pattern(value: object) -> str:
    return bounds.text(value, MAX_PATTERN)


def _threshold(value: object) -> float | None:
    return None if value is None else bounds.number(value, 0, 1e9)


RuleName = Annotated[str, rule(_name, str), Field(description="Shown to those whom it blocks.")]
Pattern = Annotated[str, rule(_pattern, str), Field(description="A glob, where the type has one.")]
Threshold = Annotated[
    float | None, rule(_threshold, float | None), Field(description="A number, where the type has one.")
]
Approver = Annotated[Literal["lead", "admin"], Field(description="Who may decide; admins always may.")]
Levels = Annotated[
    list[Literal["viewer", "researcher", "lead", "admin"]],
    Field(max_length=4, description="Levels whose jobs it leaves alone."),
]
Precedence = Annotated[
    int, Field(ge=-1_000_000, le=1_000_000, description="The rule of the smallest one is looked at first.")
]


class NewRuleBody(Strict):
    """Without `precedence` it is looked at after all others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "dear", "type": "cost_exceeds", "threshold": 50, "required_approver_level": "lead"},
                {"name": "big GPUs", "type": "hardware_type", "condition": "h100*", "exempt_levels": ["admin"]},
            ]
        }
    )

    name: RuleName
    type: Type
    condition: Pattern = ""
    threshold: Threshold = None
    enabled: bool = True
    required_approver_level: Approver = "admin"
    exempt_levels: Levels = []
    precedence: Precedence | None = None

    def values(self) -> dict[str, Any]:
        """What the body says."""
        return self.model_dump(exclude_none=True)


class RuleBody(Strict):
    """Only what is there changes; another `type` forgets condition and threshold."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}, {"threshold": 100}]})

    name: RuleName | None = None
    type: Type | None = None
    condition: Pattern | None = None
    threshold: Threshold = None
    enabled: bool | None = None
    required_approver_level: Approver | None = None
    exempt_levels: Levels | None = None
    precedence: Precedence | None = None

    @model_validator(mode="after")
    def _something(self) -> RuleBody:
        if not self.model_fields_set:
            raise PydanticCustomError("not_allowed", "give at least one field that shall change")
        for name in self.model_fields_set - {"threshold"}:
            if getattr(self, name) is None:
                raise PydanticCustomError("not_allowed", "{name} must not be null", {"name": name})
        return self

    def changes(self) -> dict[str, Any]:
        """Exactly the fields that the body names."""
        return self.model_dump(exclude_unset=True)


class ApproveBody(Strict):
    """Why, for the record; it may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "for the deadline"}]})

    reason: fields.Name | None = None


class RejectBody(Strict):
    """Why: the author is told."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "too expensive"}]})

    reason: fields.Name
