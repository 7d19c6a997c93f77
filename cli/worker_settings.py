"""Settings of a worker: those of every host of GPUs, and its own (`GPUYARD_WORKER_…` in the environment)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import platformdirs
from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from gpuyard.actors.model import bounds
from gpuyard.cli.settings import HostSettings, load_as

TOKEN_VARIABLE = "GPUYARD_WORKER_TOKEN"


class WorkerSettings(HostSettings):
    """The token is no setting: it is never shown."""

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("gpuyard-worker"), description="journal, logs and runs"
    )
    orchestrator_url: str | None = Field(None, description="tcp://HOST:PORT of the server; default: as the token says")
    worker_name: str = Field("", max_length=128, description="name in the worker's own messages")
    worker_persistent: bool | None = Field(None, description="stay after a job, whatever the enrolment says")
    worker_max_jobs: int | None = Field(None, ge=1, le=1024, description="jobs at once; default: as its GPUs hold")
    worker_keep_days: float = Field(30.0, gt=0, description="logs of ended runs are removed after so many days")
    worker_labels: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="KEY=VALUE, comma separated; they win over those of the enrolment"
    )

    @field_validator("worker_labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, list | tuple):
            value = dict(_pair(part) for part in value)
        return bounds.labels(value)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"must be KEY=VALUE, such as gpu=a100, not {text!r}")
    return key.strip(), value.strip()


def load(flags: dict[str, Any]) -> WorkerSettings:
    """`flags` are those given on the command line. Raises SettingsError."""
    return load_as(WorkerSettings, flags)
