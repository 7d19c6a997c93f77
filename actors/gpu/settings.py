"""What an administrator can set about local GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors.model.gpu_card import WatchRules


@dataclass(frozen=True)
class GpuSettings(WatchRules):
    """The rules of the watch, and how the probe is run. All times in seconds.

    `data_dir` is the server's data folder: processes of its runs are ours (another server's are foreigners), and
    what was said of GPUs by hand is kept there; None keeps nothing. A reading that takes longer than `timeout` is
    given up; the driver may take `start_timeout` to start (without persistence mode it initialises each GPU).
    While a GPU is missing the driver is opened anew after `reopen`, then after ever longer times.
    """

    data_dir: Path | None = None
    poll: float = 1.0
    timeout: float = 5.0
    start_timeout: float = 60.0
    reopen: float = 30.0
