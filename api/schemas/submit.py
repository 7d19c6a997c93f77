"""The body of a submit (CONTRACT `POST /api/queue/submit`)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gpuyard.api.schemas import fields
from gpuyard.api.schemas.fields import Strict

MOST_AT_ONCE = 1_000


class SubmitBody(Strict):
    """A job: a config by name, or a command. What is not said here is taken from the config, then the default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"config_name": "my-training-config", "no_wait": False, "any_gpu": False},
                {"command": ["python", "train.py"], "workdir": "/home/me/project", "num_processes": 2},
            ]
        }
    )

    config_name: fields.ConfigName | None = None
    command: fields.Command | None = None
    workdir: fields.WorkDir | None = None
    env: fields.Env | None = None
    no_wait: bool = False
    any_gpu: bool | None = None
    target: fields.Target | None = None
    provider: fields.Provider | None = None
    worker_labels: fields.Labels | None = None
    num_processes: fields.Count | None = None
    gpu_memory_gb: fields.GpuMemory | None = None
    device_ids: fields.Devices | None = None
    name: fields.Name | None = None
    priority_override: fields.Override | None = None
    team_id: fields.Team | None = None
    estimated_cost: fields.Cost | None = None
    requires_approval: Annotated[bool, Field(description="Start it only after somebody approved it.")] = False
    for_approval: Annotated[
        bool, Field(description="Ask for approval where a rule would have it refused (with no_wait).")
    ] = False
    max_attempts: fields.Attempts | None = None
    retry_on: fields.RetryOn | None = None
    time_limit: fields.Duration | None = None
    not_before: fields.Moment | None = None
    window: fields.Window | None = None
    partition_policy: fields.Partition | None = None
    lease_seconds: fields.Lease | None = None
    checkpoint_signal: fields.Signal | None = None
    metadata: fields.Metadata | None = None
    secrets: fields.Secrets | None = None
    provider_options: fields.ProviderOptions | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> SubmitBody:
        if (self.config_name is None) == (self.command is None):
            raise PydanticCustomError("not_allowed", "give either config_name or command, and not both")
        return self


def parse(body: Any) -> SubmitBody | list[SubmitBody]:
    """A body or a list of them. Raises RequestValidationError, which names the index of a list's malformed item."""
    if not isinstance(body, list):
        return _one(body, ("body",))
    if not 1 <= len(body) <= MOST_AT_ONCE:
        text = f"a list must hold 1 to {MOST_AT_ONCE} jobs, not {len(body)}"
        raise RequestValidationError([{"type": "not_allowed", "loc": ("body",), "msg": text, "input": None}])
    return [_one(item, ("body", index)) for index, item in enumerate(body)]


def _one(body: Any, where: tuple[str | int, ...]) -> SubmitBody:
    try:
        return SubmitBody.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**problem, "loc": where + problem["loc"]} for problem in problems]) from None


def openapi_body() -> dict[str, Any]:
    """The request body for the OpenAPI document: one job, or a list."""
    one = SubmitBody.model_json_schema()
    examples = one.pop("examples")
    many = {"type": "array", "minItems": 1, "maxItems": MOST_AT_ONCE, "items": one}
    content = {
        "schema": {"oneOf": [one, many]},
        "examples": {
            "config": {"summary": "a config of the configs folder", "value": examples[0]},
            "command": {"summary": "a command", "value": examples[1]},
            "list": {"summary": "several at once, in one transaction", "value": examples},
        },
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
