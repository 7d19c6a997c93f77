"""Who uses a GPU: one reading of it, split into our runs, processes from outside the queue, and unexplained memory.

A driver inside a container lists pids that say nothing, or no process at all; there memory alone tells that somebody
is on a GPU (DESIGN 12), so what nobody explains is a result of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gpuyard.actors.model.gpu import GpuProcess
from gpuyard.actors.model.gpu_reading import ReadGpu, ReadProcess

MIB = 1024**2


class Use(NamedTuple):
    """`ours`: processes of runs that may be here. `foreign`: everybody else who counts. `rest`: bytes that neither
    foreign nor display processes explain, None when memory could not be read. `vague`: a display client's memory is
    unknown, so that `rest` may be its."""

    ours: tuple[ReadProcess, ...]
    foreign: tuple[GpuProcess, ...]
    rest: int | None
    vague: bool


NOBODY = Use((), (), None, False)


def idle_limit(total: int) -> int:
    """Bytes up to which a GPU without compute processes counts as unused (contexts of daemons, reserved memory)."""
    return max(512 * MIB, total // 50)


def margin(total: int) -> int:
    """Bytes by which the level of an unused GPU may drift."""
    return max(256 * MIB, total // 200)


def use_of(gpu: ReadGpu, may_be_here: Callable[[int], bool]) -> Use:
    """Split one reading. `may_be_here` tells whether the run of a fence is where it belongs."""
    ours = []
    foreign = []
    explained = 0
    vague = unknown = False
    for process in gpu.processes:
        if not process.seen:
            continue
        if process.fence is not None and may_be_here(process.fence):
            ours.append(process)
        elif process.graphics and not _notable(process, gpu.memory_total):
            explained += process.memory_bytes or 0
            vague = vague or process.memory_bytes is None
        else:
            foreign.append(shown(process))
            explained += process.memory_bytes or 0
            unknown = unknown or process.memory_bytes is None
    rest = None if gpu.memory_used is None else 0 if unknown else max(0, gpu.memory_used - explained)
    return Use(tuple(ours), tuple(foreign), rest, vague)


def shown(process: ReadProcess) -> GpuProcess:
    """The process as facts show it; one of a run that does not belong here says so."""
    name = process.name if process.fence is None else f"{process.name} (of run {process.fence})".strip()
    return GpuProcess(process.pid, name, process.memory_bytes, process.user)


def _notable(process: ReadProcess, total: int) -> bool:
    """A desktop may share a GPU with trainings; a renderer that fills it may not."""
    return (process.memory_bytes or 0) > max(1024 * MIB, total // 10)
