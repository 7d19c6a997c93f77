"""Pages that show the same share a channel: one drawing, the same bytes; who was away gets what it missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gpuyard.api.changes import PEOPLE, QUEUE, Changes
from gpuyard.api.web.channels import Channels, read_tags
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.shared import Drawn, Shared, tag_of

# Both change with the queue; what happens here does so by events alone.
NAMES = ("numbers", "failures")


class Bench:
    """`shows` is what the regions say, drawn once for all as on a server; `wrong` is raised instead."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.channels = Channels(self.changes)
        self.shared = Shared(self.changes)
        self.shows = dict.fromkeys(NAMES, "old")
        self.drawings = 0
        self.wrong: Exception | None = None

    async def draw(self, name: str) -> Drawn:
        async def anew() -> str:
            self.drawings += 1
            if self.wrong is not None:
                raise self.wrong
            return self.shows[name]

        return await self.shared.get(name, frozenset({QUEUE}), anew)

    def change(self, **shows: str) -> None:
        self.shows |= shows
        self.changes.note((QUEUE,))

    def page(self, have: str = "") -> AsyncIterator[bytes]:
        return self.channels.frames("all", NAMES, self.draw, read_tags(have))


def read(frame: bytes) -> tuple[str, str, Any]:
    """(event, id, data) of one frame."""
    fields = dict(line.split(": ", 1) for line in frame.decode().strip().splitlines())
    return fields["event"], fields.get("id", ""), json.loads(fields["data"])


async def opened(page: AsyncIterator[bytes]) -> tuple[str, str, Any]:
    assert await anext(page) == b"retry: 2000\n\n"
    return read(await anext(page))


def told(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            await story(Bench())

    asyncio.run(whole())


def test_two_hundred_pages_share_each_drawing_and_its_bytes() -> None:
    async def story(bench: Bench) -> None:
        pages = [bench.page() for _ in range(200)]
        first = [await opened(page) for page in pages]
        assert {html for _, _, data in first for html in (data["numbers"]["html"], data["failures"]["html"])} == {"old"}
        assert bench.drawings == len(NAMES)
        bench.change(numbers="new")
        news = [await anext(page) for page in pages]
        assert len({id(frame) for frame in news}) == 1 and bench.drawings == 2 * len(NAMES)
        event, _, data = read(news[0])
        assert event == "regions" and {name: one["html"] for name, one in data.items()} == {"numbers": "new"}
        for page in pages:
            await page.aclose()  # type: ignore[attr-defined]

    told(story)


def test_who_comes_back_gets_what_it_missed_and_nothing_else() -> None:
    async def story(bench: Bench) -> None:
        stays, goes = bench.page(), bench.page()
        _, _, _ = await opened(stays)
        _, had, _ = await opened(goes)
        await goes.aclose()  # type: ignore[attr-defined]
        bench.change(failures="new")
        await anext(stays)
        _, now, data = await opened(bench.page(had))
        assert list(data) == ["failures"]
        assert (await opened(bench.page(now)))[2] == {}, "it has everything, and is told so"

    told(story)


def test_a_slow_page_skips_what_is_out_of_date() -> None:
    async def story(bench: Bench) -> None:
        slow, quick = bench.page(), bench.page()
        await opened(slow)
        await opened(quick)
        for number in range(3):
            bench.change(numbers=f"{number}", **({"failures": "new"} if number == 1 else {}))
            await anext(quick)
        _, _, data = read(await anext(slow))
        assert {name: one["html"] for name, one in data.items()} == {"numbers": "2", "failures": "new"}

    told(story)


@pytest.mark.parametrize("wrong", [Refused(503, "it restarts", "unavailable"), RuntimeError("a bug")])
def test_while_nothing_can_be_drawn_pages_are_told_and_keep_what_they_show(wrong: Exception) -> None:
    async def story(bench: Bench) -> None:
        page = bench.page()
        _, had, _ = await opened(page)
        bench.wrong = wrong
        bench.change()
        assert read(await anext(page)) == ("away", "", {})
        late, known = bench.page(), bench.page(had)
        assert (await opened(late))[0] == (await opened(known))[0] == "away"
        bench.wrong = None
        bench.change(numbers="new")
        for one, wanted in ((page, {"numbers"}), (known, {"numbers"}), (late, set(NAMES))):
            event, _, data = read(await anext(one))
            assert event == "regions" and set(data) == wanted

    told(story)


def test_when_the_core_is_back_pages_hear_of_it_although_nothing_has_changed() -> None:
    async def story(bench: Bench) -> None:
        page = bench.page()
        await opened(page)
        bench.wrong = Refused(503, "it restarts", "unavailable")
        bench.change()
        assert read(await anext(page))[0] == "away"
        bench.wrong = None
        assert read(await anext(page)) == ("regions", f"numbers:{tag_of('old')},failures:{tag_of('old')}", {})

    told(story)


def test_a_page_newer_than_its_channel_is_not_taken_back() -> None:
    """It was drawn after a change that the channel has not looked at yet."""

    async def story(bench: Bench) -> None:
        stays = bench.page()
        await opened(stays)
        bench.change(numbers="new")
        drawn = {name: tag_of(shows) for name, shows in bench.shows.items()}
        late = bench.page(",".join(f"{name}:{tag}" for name, tag in drawn.items()))
        assert (await opened(late))[2] == {}
        assert read(await anext(stays))[2]["numbers"]["html"] == "new"
        bench.change(failures="newer")
        assert list(read(await anext(late))[2]) == ["failures"], "nothing came between"

    told(story)


def test_nothing_is_drawn_for_nobody() -> None:
    async def story(bench: Bench) -> None:
        page = bench.page()
        await opened(page)
        await page.aclose()  # type: ignore[attr-defined]
        assert not bench.channels.open
        bench.change(numbers="new")
        bench.changes.note((PEOPLE,))
        await asyncio.sleep(0)
        assert bench.drawings == len(NAMES)
        assert (await opened(bench.page()))[2]["numbers"]["html"] == "new"

    told(story)
