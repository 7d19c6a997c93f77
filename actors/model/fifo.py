"""A FIFO with order statistics: insert, remove, rank and slice of a sorted sequence, each far below O(n).

Blocks of sorted tuples, as in a one-level B-tree. An own piece of code because the core imports nothing outside the
standard library; blocks instead of a Fenwick tree because a requeued or re-prioritised job comes back in the middle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import accumulate

BLOCK = 512


class Fifo:
    """Places `(seq, ranked_at)`, sorted by `seq`; `ranked_at` never falls while `seq` grows."""

    def __init__(self) -> None:
        self._blocks: list[list[tuple[int, float]]] = []
        self._lasts: list[int] = []
        self._size = 0
        self._starts: list[int] | None = None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[int, float]]:
        for block in self._blocks:
            yield from block

    def add(self, seq: int, ranked_at: float) -> None:
        """Insert a place; `seq` must not be there yet."""
        self._size += 1
        self._starts = None
        if not self._blocks:
            self._blocks.append([(seq, ranked_at)])
            self._lasts.append(seq)
            return
        at = min(bisect_left(self._lasts, seq), len(self._blocks) - 1)
        block = self._blocks[at]
        if seq > block[-1][0]:
            block.append((seq, ranked_at))
        else:
            insort(block, (seq, ranked_at))
        self._lasts[at] = block[-1][0]
        if len(block) > 2 * BLOCK:
            self._blocks[at : at + 1] = [block[:BLOCK], block[BLOCK:]]
            self._lasts[at : at + 1] = [block[BLOCK - 1][0], block[-1][0]]

    def remove(self, seq: int) -> None:
        """Take a place out. Raises KeyError when it is not there."""
        at = bisect_left(self._lasts, seq)
        if at == len(self._blocks):
            raise KeyError(seq)
        block = self._blocks[at]
        index = bisect_left(block, (seq,))
        if index == len(block) or block[index][0] != seq:
            raise KeyError(seq)
        del block[index]
        self._size -= 1
        self._starts = None
        if block:
            self._lasts[at] = block[-1][0]
        else:
            del self._blocks[at], self._lasts[at]

    def before(self, seq: int) -> int:
        """How many places have a smaller `seq`."""
        at = bisect_left(self._lasts, seq)
        return self._start(at) + (bisect_left(self._blocks[at], (seq,)) if at < len(self._blocks) else 0)

    def ranked_until(self, cutoff: float) -> int:
        """How many places were taken at or before `cutoff`; they are the first ones."""
        at = bisect_right(self._blocks, cutoff, key=lambda block: block[-1][1])
        if at == len(self._blocks):
            return self._size
        return self._start(at) + bisect_right(self._blocks[at], cutoff, key=lambda place: place[1])

    def slice(self, start: int, stop: int) -> list[int]:
        """The `seq` values of the places number `start` (from 0) to `stop` (exclusive)."""
        found: list[int] = []
        self._start(0)
        assert self._starts is not None
        at = max(0, bisect_right(self._starts, start) - 1)
        while at < len(self._blocks) and self._starts[at] < stop:
            first = self._starts[at]
            found.extend(seq for seq, _ in self._blocks[at][max(0, start - first) : stop - first])
            at += 1
        return found

    def _start(self, at: int) -> int:
        """How many places the blocks before number `at` hold."""
        if self._starts is None:
            self._starts = [0, *accumulate(map(len, self._blocks))]
        return self._starts[at]
