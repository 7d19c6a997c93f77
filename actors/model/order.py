"""The queue's order: effective priority, then FIFO (DESIGN 6, "Order").

Pending jobs stand in one FIFO per *rank class*: an override value, or a level. Boosts never re-key: a level's FIFO is
cut by time into segments, the oldest first, each with its own effective priority. So a position costs a few bisections
and a page a few slices, however many jobs wait, and an older job is never behind a younger one of its level.
"""

from __future__ import annotations

from typing import NamedTuple

from gpuyard.actors.model.fifo import Fifo
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.priority import BOOST_STEP, HIGHEST_BOOSTED, boosted


class RankClass(NamedTuple):
    """`value` is an override (fixed) or a level (boosted with waiting)."""

    fixed: bool
    value: int


class Segment(NamedTuple):
    """Places `start` to `stop` of a class's FIFO: all of one effective priority."""

    effective: int
    rank: RankClass
    start: int
    stop: int


def rank_class(job: Job) -> RankClass:
    if job.priority_override is not None:
        return RankClass(True, job.priority_override)
    return RankClass(False, job.priority)


class QueueOrder:
    """All pending jobs in dispatch order."""

    def __init__(self) -> None:
        self._fifos: dict[RankClass, Fifo] = {}
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job.seq in self._jobs

    def add(self, job: Job) -> None:
        self._fifos.setdefault(rank_class(job), Fifo()).add(job.seq, job.ranked_at)
        self._jobs[job.seq] = job

    def remove(self, job: Job) -> None:
        """Take `job` out; its priority must be what it was when it was added."""
        rank = rank_class(job)
        fifo = self._fifos[rank]
        fifo.remove(job.seq)
        if not fifo:
            del self._fifos[rank]
        del self._jobs[job.seq]

    def position(self, job: Job, now: float, threshold_minutes: float) -> int:
        """1..n in dispatch order."""
        rank = rank_class(job)
        mine = self._effective(rank, job.ranked_at, now, threshold_minutes)
        ahead = 0
        for segment in self._segments(now, threshold_minutes):
            if segment.effective > mine:
                ahead += segment.stop - segment.start
            elif segment.effective == mine:
                before = self._fifos[segment.rank].before(job.seq)
                ahead += min(max(before, segment.start), segment.stop) - segment.start
        return ahead + 1

    def page(self, offset: int, limit: int, now: float, threshold_minutes: float) -> list[Job]:
        """`limit` jobs from number `offset` (from 0) on."""
        found: list[int] = []
        by_effective: dict[int, list[Segment]] = {}
        for segment in self._segments(now, threshold_minutes):
            by_effective.setdefault(segment.effective, []).append(segment)
        for effective in sorted(by_effective, reverse=True):
            segments = by_effective[effective]
            size = sum(segment.stop - segment.start for segment in segments)
            if offset < size and len(found) < limit:
                found.extend(self._merged(segments, offset, limit - len(found)))
            offset = max(0, offset - size)
            if len(found) >= limit:
                break
        return [self._jobs[seq] for seq in found]

    def _merged(self, segments: list[Segment], offset: int, limit: int) -> list[int]:
        """Places `offset`.. of segments of equal effective priority, merged by seq."""
        if len(segments) > 1 and offset:
            start = self._seq_at(segments, offset)
            starts = [
                min(max(self._fifos[s.rank].before(start), s.start), s.stop) for s in segments
            ]  # every place before `start` is one of the skipped
        else:
            starts = [segments[0].start + offset] + [s.start for s in segments[1:]]
        seqs = [
            seq
            for segment, first in zip(segments, starts, strict=True)
            for seq in self._fifos[segment.rank].slice(first, min(segment.stop, first + limit))
        ]
        return sorted(seqs)[:limit]

    def _seq_at(self, segments: list[Segment], offset: int) -> int:
        """The smallest seq with exactly `offset` places of `segments` before it, by bisection over seqs."""
        low, high = 0, max(self._fifos[s.rank].slice(s.stop - 1, s.stop)[0] for s in segments) + 1
        while low < high:
            middle = (low + high) // 2
            before = sum(min(max(self._fifos[s.rank].before(middle + 1), s.start), s.stop) - s.start for s in segments)
            if before > offset:
                high = middle
            else:
                low = middle + 1
        return low

    def _segments(self, now: float, threshold_minutes: float) -> list[Segment]:
        segments: list[Segment] = []
        for rank, fifo in self._fifos.items():
            if rank.fixed:
                segments.append(Segment(rank.value, rank, 0, len(fifo)))
                continue
            steps, start = self._steps(rank.value), 0
            for step in range(steps, -1, -1):
                cutoff = now - step * threshold_minutes * 60
                stop = fifo.ranked_until(cutoff) if step else len(fifo)
                if stop > start:
                    effective = max(rank.value, min(HIGHEST_BOOSTED, rank.value + BOOST_STEP * step))
                    segments.append(Segment(effective, rank, start, stop))
                    start = stop
        return segments

    @staticmethod
    def _steps(level: int) -> int:
        """After how many boosts a level's effective priority stops growing."""
        return max(0, -(-(HIGHEST_BOOSTED - level) // BOOST_STEP))

    @staticmethod
    def _effective(rank: RankClass, ranked_at: float, now: float, threshold_minutes: float) -> int:
        return rank.value if rank.fixed else boosted(rank.value, now - ranked_at, threshold_minutes)
