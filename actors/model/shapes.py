"""Pending jobs grouped by shape, so that a decision does not look at every job (DESIGN 6).

A *shape* is everything that decides whether a job may start, so if its oldest job may not, none may. Shapes that ask
the same of a pool stand in one *lane*; a pass looks at the heads of the lanes that fit the free capacity now. A shape
whose user or team is at a limit is parked under that cause and woken by it; one whose queue window is closed stands
aside until it opens. A job that is held or waits for a time stands in no shape until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from gpuyard.actors.model.job import Job, Target
from gpuyard.actors.model.labels import Wanted, wanted
from gpuyard.actors.model.order import RankClass, rank_class
from gpuyard.actors.model.windows import Window


class Pool(StrEnum):
    """What a job takes its turn at."""

    GPU = "gpu"
    CPU = "cpu"
    WORKER = "worker"
    CLOUD = "cloud"


class Lane(NamedTuple):
    """What a job asks of its pool, and with which rank.

    `need` GPUs, each of at least `memory` bytes, out of `devices` (indices of local GPUs that the job insists on;
    empty: out of all). `remote`: a worker may have it, if its labels match `labels`. `window` are the hours in which
    it may start.
    """

    rank: RankClass
    need: int
    devices: tuple[int, ...]
    memory: int
    remote: bool
    labels: Wanted
    provider: str | None
    window: Window | None = None


class Shape(NamedTuple):
    """A lane of a pool, and whose limits bind."""

    pool: Pool
    lane: Lane
    user_id: int
    team_id: str | None


Cause = tuple[str, str]
"""What a parked shape waits for: ("user", id), ("team", id) …"""
WORKERS_CHANGED: Cause = ("workers", "")
"""What a shape waits for that no worker matches."""


def pool_of(job: Job) -> Pool:
    match job.spec.target:
        case Target.CLOUD:
            return Pool.CLOUD
        case Target.WORKER:
            return Pool.WORKER
        case Target.AUTO | Target.LOCAL:
            return Pool.CPU if job.spec.is_cpu else Pool.GPU


def may_go_to_worker(job: Job) -> bool:
    return job.spec.target in (Target.AUTO, Target.WORKER)


def lane_of(job: Job) -> Lane:
    spec = job.spec
    remote = may_go_to_worker(job)
    return Lane(
        rank=rank_class(job),
        need=spec.num_processes,
        devices=() if spec.target is Target.WORKER else tuple(sorted(spec.wanted_devices)),
        memory=spec.gpu_memory,
        remote=remote,
        labels=wanted(spec.worker_labels) if remote else (),
        provider=spec.provider,
        window=spec.window,
    )


def shape_of(job: Job) -> Shape:
    return Shape(pool_of(job), lane_of(job), job.user_id, job.team_id)


class _Group:
    """The jobs of one shape: a heap of seqs with lazy deletion."""

    __slots__ = ("awake_since", "cause", "closed", "heap", "jobs", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.heap: list[int] = []
        self.jobs: dict[int, Job] = {}
        self.cause: Cause | None = None
        self.closed = False
        self.awake_since = 0.0

    @property
    def awake(self) -> bool:
        """It is parked under nothing, and its window is open."""
        return self.cause is None and not self.closed

    def head(self) -> Job | None:
        while self.heap and self.heap[0] not in self.jobs:
            heappop(self.heap)
        return self.jobs[self.heap[0]] if self.heap else None


class Shapes:
    """All pending jobs that wait for nothing but capacity and limits."""

    def __init__(self) -> None:
        self._groups: dict[Shape, _Group] = {}
        self._lanes: dict[Pool, dict[Lane, list[tuple[int, Shape]]]] = {pool: {} for pool in Pool}
        self._parked: dict[Cause, set[Shape]] = {}
        self._windows: dict[Window, set[Shape]] = {}
        self._closed: set[Window] = set()

    def add(self, job: Job, now: float) -> None:
        shape = shape_of(job)
        group = self._groups.get(shape)
        if group is None:
            group = self._groups[shape] = _Group(shape)
            group.awake_since = now
            window = shape.lane.window
            if window is not None:
                self._windows.setdefault(window, set()).add(shape)
                group.closed = window in self._closed
        old = group.head()
        group.jobs[job.seq] = job
        heappush(group.heap, job.seq)
        if group.awake and (old is None or job.seq < old.seq):
            self._offer(group)

    def remove(self, job: Job) -> None:
        """Take `job` out, if it is there."""
        shape = shape_of(job)
        group = self._groups.get(shape)
        if group is None or group.jobs.pop(job.seq, None) is None:
            return
        if not group.jobs:
            if group.cause is not None:
                self._unpark(group)
            del self._groups[shape]
            self._leave_window(shape)
        elif group.awake:
            self._offer(group)

    def lanes(self, pool: Pool) -> Iterator[Lane]:
        yield from list(self._lanes[pool])

    def head(self, pool: Pool, lane: Lane) -> tuple[Job, float] | None:
        """The oldest awake job of a lane, and since when its shape is awake."""
        heap = self._lanes[pool].get(lane)
        while heap:
            seq, shape = heap[0]
            group = self._groups.get(shape)
            job = group.head() if group is not None and group.awake else None
            if job is not None and group is not None and job.seq == seq:
                return job, group.awake_since
            heappop(heap)
        self._lanes[pool].pop(lane, None)
        return None

    def heads(self, pool: Pool) -> list[Job]:
        """The oldest job of every awake shape of a pool."""
        groups = [group for group in self._groups.values() if group.shape.pool is pool and group.cause is None]
        return [job for group in groups if (job := group.head()) is not None]

    def jobs(self, pool: Pool) -> list[Job]:
        """Every awake job of a pool, by seq within its lane: for the bounded look-ahead of a reservation."""
        return [
            job
            for group in self._groups.values()
            if group.shape.pool is pool and group.awake
            for job in group.jobs.values()
        ]

    def park(self, job: Job, cause: Cause) -> None:
        """`job`'s shape cannot start until `cause` is woken; one that is parked already stays where it is."""
        group = self._groups[shape_of(job)]
        if group.cause is not None:
            return
        group.cause = cause
        self._parked.setdefault(cause, set()).add(group.shape)

    def wake(self, cause: Cause, now: float) -> None:
        for shape in self._parked.pop(cause, ()):
            group = self._groups[shape]
            group.cause = None
            group.awake_since = now
            if group.awake:
                self._offer(group)

    def wake_all(self, now: float) -> None:
        """After a change of limits."""
        for cause in list(self._parked):
            self.wake(cause, now)

    # --- windows -----------------------------------------------------------------------------------------------

    def has(self, window: Window) -> bool:
        """Do jobs of this window wait here?"""
        return window in self._windows

    def turn(self, window: Window, is_open: bool, now: float) -> None:
        """The window has opened or closed: its jobs may be looked at, or no longer."""
        if not is_open:
            self._closed.add(window)
        else:
            self._closed.discard(window)
        for shape in self._windows.get(window, ()):
            group = self._groups[shape]
            if group.closed is not is_open:
                continue
            group.closed = not is_open
            if not is_open:
                self._lanes[shape.pool].pop(shape.lane, None)
                continue
            group.awake_since = now
            if group.cause is None:
                self._offer(group)

    def _leave_window(self, shape: Shape) -> None:
        window = shape.lane.window
        if window is None:
            return
        shapes = self._windows[window]
        shapes.discard(shape)
        if not shapes:
            del self._windows[window]

    def _unpark(self, group: _Group) -> None:
        assert group.cause is not None
        parked = self._parked[group.cause]
        parked.discard(group.shape)
        if not parked:
            del self._parked[group.cause]

    def _offer(self, group: _Group) -> None:
        head = group.head()
        if head is not None:
            lanes = self._lanes[group.shape.pool]
            heappush(lanes.setdefault(group.shape.lane, []), (head.seq, group.shape))
