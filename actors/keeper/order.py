"""What a keeper is told to start: a RunSpec in the form that the keeper program reads."""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.keeper import environment
from gpuyard.actors.keeper.news import Terms
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model.commands import RunSpec


def compose(run: RunSpec, settings: KeeperSettings, port: int, lease: Terms | None = None) -> dict[str, Any]:
    """`env` is what is added to the cleaned environment that the zygote was started with."""
    job_dir = str(settings.jobs / run.job_id)
    return {
        "fence": run.fence,
        "job_id": run.job_id,
        "attempt": run.attempt,
        "argv": run.argv,
        "cwd": run.cwd,
        "env": environment.of_run(run, job_dir, port),
        "files": run.files,
        "copies": {},
        "gpus": [gpu.uuid for gpu in run.gpus],
        "port": port,
        "job_dir": job_dir,
        "time_limit": run.time_limit,
        "grace": settings.stop_grace_seconds,
        "log_cap": settings.log_cap_mb << 20,
        "lease": msgspec.to_builtins(lease),
    }
