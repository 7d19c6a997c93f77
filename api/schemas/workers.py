"""The bodies of requests about workers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict

from gpuyard.actors.model import bounds
from gpuyard.api.schemas.fields import Strict, checked

WorkerName = Annotated[
    str,
    checked(
        bounds.worker_name, str, description="A name for people.", json_schema_extra={"pattern": bounds.WORKER_NAME}
    ),
]
WorkerLabels = Annotated[
    dict[str, str],
    checked(bounds.labels, dict[str, str], description="What jobs choose by; those that the worker itself says win."),
]


class NewWorkerBody(Strict):
    """An ephemeral worker takes one job, leaves, and is removed an hour later."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "gpu-box", "labels": {"gpu_type": "a100-80gb"}}]}
    )

    name: WorkerName
    worker_type: Literal["persistent", "ephemeral"] = "persistent"
    labels: WorkerLabels = {}


class RotateBody(Strict):
    """With `now` the old token is void at once; else it works until the new one connects, or for 24 h."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"now": True}]})

    now: bool = False
