"""The probe of a machine without GPUs: CPU jobs, workers and clouds work all the same."""

from __future__ import annotations

from collections.abc import Mapping

from gpuyard.actors.model.gpu_reading import Reading


class NoProbe:
    """Always answers: no GPUs."""

    backend = "none"
    at_once = True
    fd: int | None = None

    def ask(self) -> bool:
        return True

    def take(self) -> Reading | None:
        return Reading()

    def note(self, running: Mapping[str, int]) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to let go of."""
