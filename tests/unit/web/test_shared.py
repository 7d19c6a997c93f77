"""Regions are drawn once for all who ask, anew after a change, and a failure is nobody's picture."""

from __future__ import annotations

import asyncio

import pytest

from gpuyard.api.changes import GPUS, QUEUE, Changes
from gpuyard.api.web.shared import Shared

WATCH = frozenset({QUEUE})


class Bench:
    def __init__(self) -> None:
        self.changes = Changes()
        self.drawings = 0
        self.fails = False
        self.shared = Shared(self.changes)

    async def draw(self) -> str:
        self.drawings += 1
        await asyncio.sleep(0)
        if self.fails:
            raise RuntimeError("no picture")
        return f"drawn after {self.changes.of(WATCH)}"


def test_two_hundred_who_ask_at_once_share_a_drawing() -> None:
    async def story() -> None:
        bench = Bench()
        first = await asyncio.gather(*(bench.shared.get("a", WATCH, bench.draw) for _ in range(200)))
        assert bench.drawings == 1 and len({one.tag for one in first}) == 1
        assert (await bench.shared.get("a", WATCH, bench.draw)) == first[0] and bench.drawings == 1
        await bench.shared.get("another", WATCH, bench.draw)
        assert bench.drawings == 2

    asyncio.run(story())


def test_after_a_change_nobody_gets_the_old_one() -> None:
    async def story() -> None:
        bench = Bench()
        old = await bench.shared.get("a", WATCH, bench.draw)
        bench.changes.note(WATCH)
        new = await asyncio.gather(*(bench.shared.get("a", WATCH, bench.draw) for _ in range(50)))
        assert {one.html for one in new} == {"drawn after 1"} and bench.drawings == 2
        assert new[0].tag != old.tag

    asyncio.run(story())


def test_what_a_region_does_not_show_makes_it_no_older() -> None:
    async def story() -> None:
        bench = Bench()
        old = await bench.shared.get("a", WATCH, bench.draw)
        bench.changes.note((GPUS,))
        assert await bench.shared.get("a", WATCH, bench.draw) is old and bench.drawings == 1

    asyncio.run(story())


def test_a_failure_goes_to_all_who_wait_and_is_not_kept() -> None:
    async def story() -> None:
        bench = Bench()
        bench.fails = True
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await bench.shared.get("a", WATCH, bench.draw)
        bench.fails = False
        assert (await bench.shared.get("a", WATCH, bench.draw)).html == "drawn after 0"

    asyncio.run(story())


def test_what_was_drawn_anew_is_not_replaced_by_what_was_begun_before() -> None:
    async def story() -> None:
        bench, begun, go_on = Bench(), asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await go_on.wait()
            return "begun before"

        waits = asyncio.ensure_future(bench.shared.get("a", WATCH, slow))
        await begun.wait()
        page = await bench.shared.anew("a", WATCH, bench.draw)
        go_on.set()
        assert await waits is page and await bench.shared.get("a", WATCH, bench.draw) is page

    asyncio.run(story())
