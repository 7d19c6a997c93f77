"""Why a GPU is not handed out, in words, with the command that helps where waiting does not."""

from __future__ import annotations

from collections.abc import Sequence

from gpuyard.actors.model.gpu import GIB, GpuFact, GpuProcess, GpuState
from gpuyard.actors.model.job import JobSpec


def state_words(fact: GpuFact, state: GpuState, worker: str = "") -> str | None:
    """What to say beside a GPU's state; None when it says everything. `worker` names whose it is ("": this host's)."""
    match state:
        case GpuState.BUSY_EXTERNAL:
            return "; ".join(map(_user, fact.foreign))
        case GpuState.RELEASING:
            return "its run ended; waiting until its memory is back"
        case GpuState.FREE:
            return None
        case GpuState.HELD:
            return fact.fault
        case GpuState.MISSING | GpuState.EXCLUDED | GpuState.QUARANTINED:
            return trouble(fact, worker)


def trouble(fact: GpuFact, worker: str = "") -> str | None:
    """Why this GPU is out of service; None when it is not (somebody may use it all the same)."""
    name = named(fact, worker)
    if fact.missing:
        return fact.fault or "the driver does not list it"
    if fact.excluded:
        return f"excluded by the administrator; `gpuyard gpus include {name}` hands it out again"
    if fact.fault is None:
        return None
    return fact.fault + (f"; `gpuyard gpus clear {name}` accepts it as it is" if fact.clearable else "")


def named(fact: GpuFact, worker: str = "") -> str:
    """What commands call it: its index, behind the name of the worker whose it is."""
    return f"{worker}:{fact.index}" if worker else str(fact.index)


def asked(spec: JobSpec) -> str:
    """What a job asks for: `1 GPU`, `4 GPUs of at least 40 GB`."""
    memory = f" of at least {spec.gpu_memory_gb:g} GB" if spec.gpu_memory_gb else ""
    return f"{spec.num_processes} {'GPU' if spec.num_processes == 1 else 'GPUs'}{memory}"


def standing(fact: GpuFact) -> GpuState | None:
    """The state that `trouble` is about, whoever holds the GPU; None when there is none."""
    if fact.missing:
        return GpuState.MISSING
    if fact.excluded:
        return GpuState.EXCLUDED
    return GpuState.QUARANTINED if fact.fault else None


def cure(facts: Sequence[GpuFact], worker: str = "") -> str:
    """The commands that put these GPUs back into service; those that no command helps are left out."""
    include = [named(fact, worker) for fact in facts if curable(fact) and fact.excluded]
    clear = [named(fact, worker) for fact in facts if curable(fact) and fact.clearable]
    words = [("include", include), ("clear", clear)]
    return " && ".join(f"gpuyard gpus {verb} {' '.join(gpus)}" for verb, gpus in words if gpus)


def curable(fact: GpuFact) -> bool:
    """Can an administrator put it back into service by a command?"""
    return not fact.missing and (fact.clearable or (fact.excluded and not fact.fault))


def _user(process: GpuProcess) -> str:
    return (
        f"pid {process.pid or 'unknown'}"
        + (f" ({process.name})" if process.name else "")
        + (f", {process.memory_bytes / GIB:.1f} GiB" if process.memory_bytes else "")
    )
