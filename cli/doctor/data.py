"""The server's own: settings, data folder, disk, database, GPU driver."""

from __future__ import annotations

import os
import select
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gpuyard.actors.model.gpu_reading import Reading
from gpuyard.cli.doctor.finding import Finding, failure, note, ok, warning
from gpuyard.cli.text import amount

GB = 1_000_000_000
LITTLE_DISK = 5 * GB
NO_DISK = 200_000_000
GPU_SECONDS = 15.0


def folder(path: Path) -> Iterator[Finding]:
    """The data folder is ours alone, on a local file system, with room."""
    from gpuyard.actors.store.mounts import network_mount

    if not path.exists():
        yield note("data folder", f"{path} is not there yet", "the server makes it at its first start")
        path = next(parent for parent in path.parents if parent.exists())
        if not os.access(path, os.W_OK):
            yield failure("data folder", f"{path} cannot be written", "choose another with --data-dir")
    else:
        yield from rights(path)
        yield from secrets(path / "secrets")
    kind = network_mount(path.resolve())
    if kind:
        do = "choose a local disk with --data-dir: SQLite's locks do not hold across hosts"
        yield failure("data folder", f"{path} is on a network file system ({kind})", do)
    yield from disk(path)


def rights(path: Path) -> Iterator[Finding]:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid():
        yield failure("data folder", f"{path} belongs to user {status.st_uid}", "run gpuyard as that user")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield failure("data folder", f"{path} cannot be read and written", f"chmod 700 {path}")
    elif mode & 0o077:
        yield warning("data folder", f"others may look into {path} (mode {mode:o})", f"chmod 700 {path}")
    else:
        yield ok("data folder", str(path))


def secrets(path: Path) -> Iterator[Finding]:
    """Secrets of jobs and webhooks are readable for us alone, also where a copy of the folder was put back."""
    seen = [one for one in path.rglob("*") if stat.S_IMODE(one.stat().st_mode) & 0o077] if path.is_dir() else []
    if seen:
        yield failure("secrets", f"others may read {amount(len(seen), 'file')} in {path}", f"chmod -R go= {path}")


def disk(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path).free
    text = f"{free / GB:.1f} GB free at {path}"
    do = "free some, or: gpuyard jobs purge --older-than 30d"
    if free < NO_DISK:
        yield failure("disk", text, do)
    elif free < LITTLE_DISK:
        yield warning("disk", text, do)
    else:
        yield ok("disk", text)


def database(path: Path) -> Iterator[Finding]:
    """The database is whole, and none of its rows contradicts another."""
    if not path.exists():
        yield note("database", f"{path} is not there yet", "the server makes it at its first start")
        return
    from gpuyard.actors.store import admin

    problems = admin.check(path)
    for problem in problems:
        yield failure("database", problem, "stop the server, then: gpuyard db restore BACKUP")
    if not problems:
        yield ok("database", f"{path.name} is whole")


Judge = Callable[[Reading], Iterator[Finding]]


def gpus(data_dir: Path, simulated: str | None, judge: Judge, *, served: bool = False) -> Iterator[Finding]:
    """The driver answers, in time, and `judge` has nothing to say about what it lists. A server that runs (`served`)
    tells the rest itself."""
    from gpuyard.actors.gpu.choose import choose
    from gpuyard.actors.gpu.probe import ProbeFailed
    from gpuyard.actors.gpu.settings import GpuSettings

    settings = GpuSettings(data_dir=data_dir)
    probe = choose(simulated, settings)
    try:
        if served and probe.backend != "cuda":
            return
        if probe.backend == "none":
            do = "install the NVIDIA driver, or try --simulate-gpus 4; CPU jobs (--gpus 0) work"
            yield note("gpus", "no NVIDIA library (libnvidia-ml.so.1): there are no GPUs to share", do)
            return
        probe.ask()
        deadline = time.monotonic() + GPU_SECONDS
        reading = probe.take()
        while reading is None and time.monotonic() < deadline:
            select.select([probe.fd] if probe.fd is not None else [], [], [], 0.2)
            reading = probe.take()
        if reading is None:
            yield failure(
                "gpus", f"the driver does not answer within {GPU_SECONDS:g} s", "look at nvidia-smi and dmesg"
            )
        else:
            if not served:
                yield ok("gpus", f"{amount(len(reading.gpus), 'GPU')} ({probe.backend})")
            yield from judge(reading)
    except ProbeFailed as error:
        yield failure("gpus", error.detail, "look at nvidia-smi and dmesg")
    finally:
        probe.close()
