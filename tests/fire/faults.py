"""Fault injection: kill, EIO and ENOSPC at each write and sync of submit → start → finish → cancel."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from pathlib import Path

from gpuyard.actors.store import admin
from tests.e2e.server import Server
from tests.fire.report import Report
from tests.fire.story import Broken, Story
from tests.fire.strace import ACTIONS, Point, Strace
from tests.machine import state_of
from tests.support import eventually

# Stories for which one data folder is used: then a fresh one, so that checks stay quick.
FOLDER_FOR = 20
# A fault that lasts is taken away once the clients have seen it so often, or have looked so often at a queue that
# answers what is durable and cannot go on.
SEEN_ENOUGH = 3
LOOKED_ENOUGH = 200
STEP_SECONDS = 60


def choose(counts: dict[str, int], points: int, seed: int) -> list[Point]:
    """`points` of all there are, drawn by lot, every action about as often as the others."""
    chance = random.Random(seed)
    piles = []
    for action in ACTIONS:
        pile = [
            Point(call, action, when, lasting)
            for call, count in counts.items()
            for when in range(1, count + 1)
            for lasting in ((False,) if action == "KILL" else (False, True))
        ]
        chance.shuffle(pile)
        # Writes are many: without this, hardly a sync would be drawn.
        syncs = [point for point in pile if point.call == "sync"]
        others = [point for point in pile if point.call != "sync"]
        half = max(points // 6, points // 3 - len(others))
        piles.append(syncs[:half] + others)
    drawn = [point for row in zip(*piles, strict=False) for point in row][:points]
    chance.shuffle(drawn)
    return drawn


class Trial:
    """`points` faults, one a story."""

    def __init__(self, folder: Path, points: int, seed: int = 1) -> None:
        self._folder = folder
        self._points = points
        self._seed = seed
        self._server: Server | None = None
        self._stories = 0
        self._report = Report("faults at the writes and syncs of the database")
        self._done: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._exits: Counter[int] = Counter()

    def run(self) -> Report:
        """Everything, in order; nothing of it is left afterwards."""
        try:
            counts = self._counts()
            for point in choose(counts, self._points, self._seed):
                self._story(point)
            self._leave()
        finally:
            if self._server is not None:
                self._server.close()
        report = self._report
        report.figure("calls in one story", counts)
        report.figure("points", sum(self._done.values()))
        for name, number in sorted(self._done.items()):
            report.figure(f"  {name}", number)
        report.figure("exits of the server", dict(self._exits))
        for refusal, number in self._refusals.most_common(8):
            report.figure(f"clients saw {number} x", refusal)
        return report

    def _counts(self) -> dict[str, int]:
        """How many writes and syncs one story makes when nothing fails."""
        story = self._begin()
        strace = self._tell(story, None)
        self._report.problems += story.problems
        return strace.counts()

    def _story(self, point: Point) -> None:
        story = self._begin(str(point))
        strace = self._tell(story, point)
        fired = strace.fired > 0 or (point.action == "KILL" and self._killed)
        self._done[f"{point.action} at {point.call}, {'met' if fired else 'not reached'}"] += 1
        self._refusals.update(story.refusals)
        self._report.problems += story.problems

    def _begin(self, name: str = "no fault") -> Story:
        if self._stories % FOLDER_FOR == 0:
            self._leave()
            folder = self._folder / f"server-{self._stories}"
            (folder / "marks").mkdir(parents=True)
            self._server = Server(folder, gpus="4", GPUYARD_STOP_GRACE_SECONDS="0.2").start()
            self._server.limits(local_job_max_concurrent=4)
        self._stories += 1
        assert self._server is not None
        return Story(self._server, self._server.folder / "marks", f"story-{self._stories}", name)

    def _tell(self, story: Story, point: Point | None) -> Strace:
        server = self._server
        assert server is not None and server.process is not None
        self._killed = False
        strace = Strace(server.process.pid, server.data / "jobs.db", server.folder / "trace", point)
        try:
            for name, step in story.steps:
                looks = count(1)

                def done(step=step, looks=looks) -> bool:  # type: ignore[no-untyped-def]
                    self._revive(strace)
                    if len(story.refusals) >= SEEN_ENOUGH or next(looks) > LOOKED_ENOUGH:
                        strace.end()
                    return bool(step())

                try:
                    eventually(done, timeout=STEP_SECONDS)
                except AssertionError as error:
                    raise Broken(f"{name!r} was never done: {error}; {story.refusals[-1:]}") from error
            strace.end()
            self._revive(strace)
            story.check()
        except Broken as error:
            story.broken(str(error))
        finally:
            strace.end()
        for problem in admin.check(server.data / "jobs.db"):
            story.broken(problem)
        return strace

    def _revive(self, strace: Strace) -> None:
        """Start the server again when it has ended: by a kill, or because it gave up."""
        server = self._server
        assert server is not None and server.process is not None
        if state_of(server.process.pid) == "Z":
            strace.end()  # killed, but a thread of it may still be held
        code = server.process.poll()
        if code is None:
            return
        strace.end()
        self._exits[code] += 1
        self._killed = code == -9
        if code not in (-9, 70):
            self._report.broken(f"the server ended with exit code {code}: {server.stderr()[-500:]}")
        server.start()

    def _leave(self) -> None:
        """An orderly end of the server that is in use, and what must be true after it."""
        server = self._server
        if server is None:
            return
        code = server.stop()
        if code != 0:
            self._report.broken(f"the server's orderly end had exit code {code}: {server.stderr()[-300:]}")
        try:
            eventually(lambda: not server.processes(), timeout=10)
        except AssertionError:
            self._report.broken(f"processes are left: {server.processes()}")
        self._report.problems += admin.check(server.data / "jobs.db")
        server.close()
        self._server = None
