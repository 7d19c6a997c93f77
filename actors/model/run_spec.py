"""What a run is: everything that the host which starts it needs to know.

In a file of its own, because commands carry it and so do the frames between hosts, which commands carry in turn.
"""

from __future__ import annotations

from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.sent_file import SentFile


class RunSpec(Message, frozen=True, kw_only=True):
    """Everything a keeper needs to start a run.

    `argv` is a list, never a shell line. `cwd` None = the job's own folder. `env` is added to the cleaned
    environment of the server. `files` are written into the job's folder first (name → text). `gpus` are in the
    order of CUDA_VISIBLE_DEVICES. `time_limit` in seconds. `sent` are files that are fetched and copied into the
    job's folder first (name → file), on whatever host it runs. `secrets` names secrets of user `owner`; whoever starts
    the run fetches their values for it, and keeps them nowhere.
    """

    fence: int
    job_id: str
    attempt: int
    argv: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    gpus: tuple[GpuRef, ...] = ()
    num_processes: int = 0
    time_limit: float | None = None
    sent: dict[str, SentFile] = {}
    secrets: tuple[str, ...] = ()
    owner: int = 0
