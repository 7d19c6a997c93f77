"""Where readings of the GPUs come from: one interface, three probes (nvml, simulated, none).

A probe never blocks: `ask` begins a reading and returns, `take` gives it once it is there. So a driver call that
hangs cannot stop the actor (DESIGN 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.gpu_reading import Reading


class ProbeFailed(GpuyardError):
    """The GPUs cannot be read now; the detail says why. The next `ask` tries again."""

    code = "probe_failed"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the NVML helper. The first, with neither reading nor error, says that NVML is open; after an `error`
    the helper ends."""

    reading: Reading | None = None
    error: str | None = None


class GpuProbe(Protocol):
    """`backend` is cuda, simulated or none. `at_once`: a GPU is known to be empty the moment its run ends."""

    backend: str
    at_once: bool

    @property
    def fd(self) -> int | None:
        """Readable when `take` may have something; None when it has at once. The same for the probe's life."""

    def ask(self) -> bool:
        """Begin a reading, unless one is under way. False when the one that comes next began before this call."""

    def take(self) -> Reading | None:
        """The reading that was asked for, None while it is under way. Raises ProbeFailed.

        Call it when `fd` is readable, and now and then: it also notices that a reading takes too long.
        """

    def note(self, running: Mapping[str, int]) -> None:
        """Our runs (UUID → fence): a simulation shows their load, a real GPU does so by itself."""

    def close(self) -> None:
        """Let go of the driver. Harmless to repeat."""
