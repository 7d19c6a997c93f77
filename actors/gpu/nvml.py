"""NVML through pynvml, which only this file imports: one synchronous reading of all GPUs.

It runs in a process of its own (`nvml_helper`): a call may hang in the driver, and the library may crash. What a
driver or card does not support is None; a card that fails is reported as such and never takes the others down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pynvml

from gpuyard.actors.gpu.ownership import Owners
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading, ReadProcess, ReadXid

# The card cannot be reached: nothing else need be asked of it.
LOST = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND})
NO_INSTANCE = 0xFFFFFFFF
EVENTS_AT_ONCE = 64
# MIG devices are numbered after their GPU, apart from all GPUs.
MIG_STRIDE = 100

Handle = Any
NvmlError: type[Exception] = pynvml.NVMLError


class Nvml:
    """Open NVML. Raises NVMLError. The driver fixes its list of GPUs at that moment: open it anew to see others."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        pynvml.nvmlInit()
        self._events = self._listen()

    def close(self) -> None:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def read(self) -> Reading:
        """Read everything. Raises NVMLError when the driver as a whole does not answer."""
        gpus: list[ReadGpu] = []
        replaced: list[str] = []
        instances: dict[str, list[tuple[int, str]]] = {}
        handles, unreachable = _handles()
        for index, handle in handles:
            try:
                gpu, parts = self._read_gpu(index, handle)
            except pynvml.NVMLError as error:
                unreachable[index] = str(error)
                continue
            gpus += [part for _, part in parts] or [gpu]
            if parts:
                replaced.append(gpu.uuid)
                instances[gpu.uuid] = [(instance, part.uuid) for instance, part in parts]
        self._owners.forget_all_but({process.pid for gpu in gpus for process in gpu.processes})
        return Reading(
            gpus=tuple(gpus),
            replaced=tuple(replaced),
            unreachable=unreachable,
            xids=tuple(self._xids(instances)),
        )

    def _read_gpu(self, index: int, handle: Handle) -> tuple[ReadGpu, list[tuple[int, ReadGpu]]]:
        """The GPU, and its MIG devices by instance. Raises NVMLError when it cannot even be named."""
        uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
        try:
            mig = _or_none(pynvml.nvmlDeviceGetMigMode, handle)
            if mig is None or mig[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
                return self._read_device(index, handle, handle, uuid, name), []
            parts = [
                (_or_none(pynvml.nvmlDeviceGetGpuInstanceId, part), self._read_mig(index, n, handle, part))
                for n, part in _mig_devices(handle)
            ]
            why = "MIG mode is on but no MIG device exists: create some, or turn it off"
            return ReadGpu(uuid=uuid, index=index, name=name, error=why), parts
        except pynvml.NVMLError as error:
            if error.value not in LOST:
                raise
            return ReadGpu(uuid=uuid, index=index, name=name, lost=str(error)), []

    def _read_mig(self, parent: int, n: int, handle: Handle, part: Handle) -> ReadGpu:
        uuid, name = pynvml.nvmlDeviceGetUUID(part), pynvml.nvmlDeviceGetName(part)
        return self._read_device(MIG_STRIDE * (parent + 1) + n, part, handle, uuid, name, mig=True)

    def _read_device(
        self, index: int, device: Handle, card: Handle, uuid: str, name: str, mig: bool = False
    ) -> ReadGpu:
        """`card` is the GPU that a MIG device is a part of, else the device itself. Raises NVMLError when lost."""
        power = _or_none(pynvml.nvmlDeviceGetPowerUsage, card)
        utilization = _or_none(pynvml.nvmlDeviceGetUtilizationRates, device)
        memory, error = _memory(device)
        return ReadGpu(
            uuid=uuid,
            index=index,
            name=name,
            memory_total=memory.total if memory else 0,
            memory_used=memory.used if memory else None,
            utilization=utilization.gpu if utilization else None,
            temperature_c=_or_none(pynvml.nvmlDeviceGetTemperatureV, card, pynvml.NVML_TEMPERATURE_GPU)
            or _or_none(pynvml.nvmlDeviceGetTemperature, card, pynvml.NVML_TEMPERATURE_GPU),
            power_w=None if power is None else power / 1000,
            ecc_uncorrected=_or_none(
                pynvml.nvmlDeviceGetTotalEccErrors,
                card,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            ),
            mig=mig,
            processes=self._processes(device),
            error=error,
        )

    def _processes(self, device: Handle) -> tuple[ReadProcess, ...]:
        """Compute processes, then display clients that do not compute too."""
        compute = {p.pid: p for p in _listed(_COMPUTE, device)}
        graphics = {p.pid: p for p in _listed(_GRAPHICS, device) if p.pid not in compute}
        return tuple(
            self._owners.describe(p.pid, p.usedGpuMemory, graphics=p.pid in graphics)
            for p in [*compute.values(), *graphics.values()]
        )

    # --- Xid events ---

    def _listen(self) -> Any:
        """An event set for all cards that support one; None where there is none."""
        events = _or_none(pynvml.nvmlEventSetCreate)
        if events is None:
            return None
        for _, handle in _handles()[0]:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        return events

    def _xids(self, instances: dict[str, list[tuple[int, str]]]) -> Iterator[ReadXid]:
        """What happened since the last reading; an Xid of a GPU in MIG mode counts for the MIG devices it names."""
        for _ in range(EVENTS_AT_ONCE if self._events is not None else 0):
            try:
                event = pynvml.nvmlEventSetWait(self._events, 0)
                uuid = pynvml.nvmlDeviceGetUUID(event.device)
            except pynvml.NVMLError:
                return
            parts = instances.get(uuid)
            if parts is None:
                yield ReadXid(uuid, event.eventData)
                continue
            for instance, part in parts:
                if event.gpuInstanceId in (NO_INSTANCE, instance):
                    yield ReadXid(part, event.eventData)


def _handles() -> tuple[list[tuple[int, Handle]], dict[int, str]]:
    """(index, handle) of all GPUs that we may use, and (index → why) those that cannot be reached.

    CUDA counts by PCI address (CUDA_DEVICE_ORDER=PCI_BUS_ID), and only GPUs that we may open; NVML promises no order.
    """
    found: list[tuple[int, Handle, tuple[int, int, int] | None]] = []
    failed: list[tuple[int, str]] = []
    for number in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NO_PERMISSION:
                failed.append((number, str(error)))
        else:
            found.append((number, handle, _address(handle)))
    if failed or any(address is None for _, _, address in found):
        return [(number, handle) for number, handle, _ in found], dict(failed)
    in_order = sorted(found, key=lambda entry: entry[2] or (0, 0, 0))
    return [(rank, handle) for rank, (_, handle, _) in enumerate(in_order)], {}


def _address(handle: Handle) -> tuple[int, int, int] | None:
    pci = _or_none_ever(pynvml.nvmlDeviceGetPciInfo, handle)
    return (pci.domain, pci.bus, pci.device) if pci is not None else None


def _mig_devices(handle: Handle) -> Iterator[tuple[int, Handle]]:
    """(n, MIG device), with gaps where an instance was destroyed."""
    for n in range(_or_none(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _or_none(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, n)
        if part is not None:
            yield n, part


def _memory(device: Handle) -> tuple[Any, str | None]:
    """What is in use, or why that is not known. The newer call leaves what the driver reserves for itself out; old
    drivers have only the other."""
    try:
        newer = _or_none(pynvml.nvmlDeviceGetMemoryInfo, device, pynvml.nvmlMemory_v2)
        return newer or pynvml.nvmlDeviceGetMemoryInfo(device), None
    except pynvml.NVMLError as error:
        if error.value in LOST:
            raise
        return None, f"its memory cannot be read: {error}"


_COMPUTE = (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetComputeRunningProcesses_v2)
_GRAPHICS = (pynvml.nvmlDeviceGetGraphicsRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2)


def _listed(calls: tuple[Callable[[Handle], list[Any]], ...], device: Handle) -> list[Any]:
    """Processes by the newest call that the driver knows. None where it cannot list any (cards that do not support
    it, sandboxes): then memory tells whether somebody is there."""
    found = (_or_none(call, device) for call in calls)
    return next((listed for listed in found if listed is not None), [])


def _or_none(call: Callable[..., Any], *args: Any) -> Any:
    """None for whatever this driver or card cannot tell. Raises NVMLError when the card is lost."""
    try:
        return call(*args)
    except pynvml.NVMLLibraryMismatchError:
        return None
    except pynvml.NVMLError as error:
        if error.value in LOST:
            raise
        return None


def _or_none_ever(call: Callable[..., Any], *args: Any) -> Any:
    with suppress(pynvml.NVMLError):
        return call(*args)
    return None
