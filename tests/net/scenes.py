"""Scenes that play at the same time, each with a worker and a job of its own, and a spare worker that would take over.

Leases of seconds make tests of mostly waiting; together they take as long as the longest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.net.fleet import Job, Machine, NetServer
from tests.net.hosts import boottime
from tests.support import eventually


class MakeWorker(Protocol):
    def __call__(self, name: str, gpus: int = 1, **labels: str) -> Machine: ...


@dataclass
class Scene:
    """A job that lives on a worker. `play` does to it what the scene is about."""

    server: NetServer
    box: Machine
    job: Job

    @property
    def lease(self) -> float:
        return self.job.seconds

    def attempts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.job.view()["attempts"]
        return found

    def goes_on(self) -> None:
        """It is the same run as at the beginning, and its worker is heard again."""
        self.box.wait_status("idle", "busy")
        assert len(self.job.runs()) == 1, self.job.runs()
        (run,) = self.job.finish()
        (attempt,) = self.attempts()
        assert (attempt["fence"], attempt["exit_class"]) == (run.fence, "completed")

    def began_anew(self, after: float, because: str = "no word from") -> None:
        """The first run has ended as lost, and another one began after `after`; no two lived together."""
        self.job.wait_lives(2)
        runs = self.job.finish()
        assert len(runs) == 2 and runs[1].begin > after, runs
        first, second = self.attempts()
        assert first["exit_class"] == "lost" and because in first["error"], first
        assert second["exit_class"] == "completed", second


def wait_until(moment: float) -> None:
    eventually(lambda: boottime() >= moment, max(0.0, moment - boottime()) + 60)


@dataclass
class Stage:
    """Prepares the scenes, then lets them play together."""

    server: NetServer
    make_worker: MakeWorker
    folder: Path
    scenes: list[tuple[Scene, Callable[[Scene], None]]] = field(default_factory=list)

    def add(self, play: Callable[[Scene], None], lease: float, **more: Any) -> None:
        name = play.__name__.replace("_", "-")
        box = self.make_worker(name, **{name: "1"})
        self.scenes.append((Scene(self.server, box, Job(self.server, self.folder, lease, name, **more)), play))

    def play(self) -> None:
        """Raises what went wrong in any of them."""
        for scene, _ in self.scenes:
            scene.job.wait_lives()
        # Where all of them may go on. Not there before, so that each begins on its own.
        self.make_worker("spare", len(self.scenes), **{scene.box.name: "1" for scene, _ in self.scenes}).wait_status(
            "idle", "busy"
        )
        wrong: list[Exception] = []

        def run(scene: Scene, play: Callable[[Scene], None]) -> None:
            try:
                play(scene)
            except Exception as error:  # noqa: BLE001 - told by whoever waits for the thread
                error.add_note(f"scene {scene.box.name}: {scene.job.runs()}\n{scene.box.stderr()}")
                wrong.append(error)

        threads = [threading.Thread(target=run, args=one, name=one[1].__name__) for one in self.scenes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise ExceptionGroup("scenes went wrong", wrong)
