"""How often something has happened, by the kind of thing that shows it: what was made from the state knows that it is
old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

QUEUE: Final = "queue"
GPUS: Final = "gpus"
WORKERS: Final = "workers"
PEOPLE: Final = "people"
# No event tells of it: load and memory of GPUs, how far a run is.
TIME: Final = "time"
KINDS: Final = (QUEUE, GPUS, WORKERS, PEOPLE)

# Events of the core that are about something else than a job; each moves the queue as well.
OF_EVENT: Final = {"gpu_changed": GPUS, "gpu_set_aside": GPUS, "worker_changed": WORKERS}


class Changes:
    """All in one event loop."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(KINDS, 0)
        self._listeners: set[Callable[[], None]] = set()

    def note(self, kinds: Iterable[str]) -> None:
        """Something of these kinds has happened."""
        for kind in kinds:
            self._counts[kind] += 1
        for heard in list(self._listeners):
            heard()

    def of(self, watch: frozenset[str]) -> int:
        """Grows whenever something of a kind in `watch` happens."""
        return sum(count for kind, count in self._counts.items() if kind in watch)

    @contextmanager
    def listening(self, heard: Callable[[], None]) -> Iterator[None]:
        """Within the block `heard` is called after each change."""
        self._listeners.add(heard)
        try:
            yield
        finally:
            self._listeners.discard(heard)
