"""What hardware a job may get, by name: what rules of type `hardware_type` look at."""

from __future__ import annotations

from typing import Final

from gpuyard.actors.model.hosts import Need
from gpuyard.actors.model.job import JobSpec, Target
from gpuyard.actors.model.labels import wanted
from gpuyard.actors.model.reserve import among
from gpuyard.actors.model.yard import Yard

# Labels that say which GPU a worker has; a job that asks for one asks for that hardware.
LABELS: Final = ("gpu_type", "gpu_name", "gpu", "hardware")
LONGEST: Final = 128
NAMED: Final = ("hardware", "hardware_type")


def hardware_of(yard: Yard, spec: JobSpec) -> tuple[str, ...]:
    """Names of the GPUs that the job may get, and of the hardware that it asks for; none for a CPU job."""
    if spec.is_cpu:
        return ()
    names = [spec.worker_labels[label] for label in LABELS if label in spec.worker_labels]
    for said in (spec.provider_options, spec.metadata):
        names += [value for key in NAMED if isinstance(value := said.get(key), str)]
    if spec.target in (Target.AUTO, Target.LOCAL):
        names += [gpu.name for gpu in among(yard.ledger.known, tuple(spec.wanted_devices), spec.gpu_memory)]
    if spec.target in (Target.AUTO, Target.WORKER):
        need = Need(spec.num_processes, spec.gpu_memory, wanted(spec.worker_labels))
        names += [gpu.name for host in yard.hosts.matching(need).values() for gpu in host.fact.facts]
    return tuple(dict.fromkeys(_tame(name) for name in names if name))


def _tame(name: str) -> str:
    """What people write stands in the reason of an approval."""
    return "".join(char if char.isprintable() else "?" for char in name[:LONGEST])
