"""The environment of a run (DESIGN 5): the server's own, cleaned; what the user set; what we tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.job import JOB_DIR as JOB_DIR_MARK
from gpuyard.actors.procfs import FENCE, JOB_DIR

OUR_PREFIX = "GPUYARD_"

# What a service manager tells its own child: a training must not answer for us.
SERVICE_VARIABLES = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "FDSTORE",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "MAINPID",
        "MANAGERPID",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "NOTIFY_SOCKET",
        "SYSTEMD_EXEC_PID",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)


# Credentials of the server itself, with which it speaks to providers: whoever may submit a job could read them there.
PROVIDER_VARIABLES = frozenset({"RAY_AUTH_TOKEN", "REPLICATE_API_TOKEN", "REPLICATE_WEBHOOK_SECRET"})

# What every run finds (REFERENCE.md is made from this).
VARIABLES: Final[dict[str, str]] = {
    "CUDA_VISIBLE_DEVICES": "The indices of its GPUs, of MIG devices their UUIDs; empty for a CPU job.",
    "CUDA_DEVICE_ORDER": "`PCI_BUS_ID`, so that these indices mean the same to CUDA as to the driver.",
    "GPUYARD_JOB_ID": "The job's id, the same over its attempts.",
    "GPUYARD_ATTEMPT": "The attempt's number, from 1.",
    FENCE: "The number of this very run; it never comes twice.",
    "GPUYARD_GPU_UUIDS": "The UUIDs of its GPUs, in the order of CUDA_VISIBLE_DEVICES.",
    "GPUYARD_NUM_PROCESSES": "How many GPUs it asked for; 0 for a CPU job.",
    JOB_DIR: "The job's own folder, kept over its attempts: the place for checkpoints.",
    "MASTER_ADDR": "127.0.0.1, for torch.distributed; your own value wins.",
    "MASTER_PORT": "A port that is leased for the run; your own value wins.",
    "PYTHONUNBUFFERED": "1, so that the log is not late; your own value wins.",
}


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """The server's environment without its tokens, its settings and what speaks only to it."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(OUR_PREFIX) and name not in SERVICE_VARIABLES | PROVIDER_VARIABLES
    }


def of_run(run: RunSpec, job_dir: str, port: int) -> dict[str, str]:
    """What is added to the cleaned environment. Which GPUs a run sees, and who it is, is not the user's to set."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        **{name: value.replace(JOB_DIR_MARK, job_dir) for name, value in run.env.items()},
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(_visible(run)),
        "GPUYARD_JOB_ID": run.job_id,
        "GPUYARD_ATTEMPT": str(run.attempt),
        FENCE: str(run.fence),
        "GPUYARD_GPU_UUIDS": ",".join(gpu.uuid for gpu in run.gpus),
        "GPUYARD_NUM_PROCESSES": str(run.num_processes),
        JOB_DIR: job_dir,
    }


def _visible(run: RunSpec) -> list[str]:
    """CUDA numbers whole GPUs by their place on the bus; a MIG slice has no number, only its UUID."""
    return [gpu.uuid if gpu.uuid.startswith("MIG-") else str(gpu.index) for gpu in run.gpus]
