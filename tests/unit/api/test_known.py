"""The Frontend's copy of who may come in: trusted for a moment after each word from People, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gpuyard.actors.base import Directory
from gpuyard.actors.model import names
from gpuyard.actors.model.accounts import ALL_SCOPES
from gpuyard.actors.model.commands import WatchPeople
from gpuyard.actors.model.errors import Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.views import Credential, PeopleView
from gpuyard.api.core import LocalCore
from gpuyard.api.known import KnownPeople

ANN = Credential(
    digest="d1", token_id=3, scopes=ALL_SCOPES, user_id=2, username="ann", level=Level.LEAD, expires_at=None
)
SEEN_AS = Viewer(user_id=2, username="ann", level=Level.LEAD, token_id=3)


class Scripted(LocalCore):
    """People as the test wants it: answers are taken from `say`, an exception is raised."""

    def __init__(self) -> None:
        super().__init__(Directory())
        self.say: asyncio.Queue[PeopleView | Exception] = asyncio.Queue()
        self.asked: list[WatchPeople] = []

    async def ask(self, to: str, message: Message, timeout: float = 10.0) -> Any:
        assert to == names.PEOPLE and isinstance(message, WatchPeople)
        self.asked.append(message)
        async with asyncio.timeout(20):
            answer = await self.say.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


def view(revision: int, *credentials: Credential, single_user: bool = False) -> PeopleView:
    return PeopleView(revision=revision, single_user=single_user, credentials=list(credentials))


async def comes_in(people: KnownPeople, digest: str) -> Credential | None:
    """As the authenticator asks."""
    if not people.certain:
        await people.make_certain()
    return people.credential(digest)


async def alone(people: KnownPeople) -> bool:
    await comes_in(people, "")
    return people.single_user


async def until(check: Any) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.001)


def test_who_is_known_comes_in_and_their_use_is_told_with_the_next_question() -> None:
    async def main() -> None:
        core, now = Scripted(), [100.0]
        async with KnownPeople(core, lambda: now[0]) as people:
            core.say.put_nowait(view(7, ANN))
            assert await comes_in(people, "d1") == ANN
            assert await comes_in(people, "d2") is None
            assert not await alone(people)
            core.say.put_nowait(PeopleView(revision=7, single_user=False))
            await until(lambda: len(core.asked) == 3)
            assert [one.seen for one in core.asked] == [-1, 7, 7]
            assert [one.used for one in core.asked] == [{}, {}, {3: 100.0}]
            assert await comes_in(people, "d1") == ANN, "no news change nothing"

    asyncio.run(main())


def test_news_act_the_moment_they_come() -> None:
    async def main() -> None:
        core = Scripted()
        told: list[bool] = []
        async with KnownPeople(core) as people:
            people.changed = lambda: told.append(people.still(SEEN_AS))
            core.say.put_nowait(view(1, ANN))
            assert await comes_in(people, "d1") == ANN
            core.say.put_nowait(view(2))
            await until(lambda: len(told) == 2)
            assert await comes_in(people, "d1") is None
        assert told == [True, False]

    asyncio.run(main())


def test_still_looks_at_all_rights() -> None:
    async def main() -> None:
        core, now = Scripted(), [100.0]
        async with KnownPeople(core, lambda: now[0]) as people:
            core.say.put_nowait(
                view(1, ANN, Credential(**{**_fields(ANN), "digest": "d3", "token_id": 4, "expires_at": 200.0}))
            )
            await alone(people)
            other = Viewer(user_id=2, username="ann", level=Level.LEAD, token_id=4)
            assert people.still(SEEN_AS) and people.still(other)
            now[0] = 200.0
            assert people.still(SEEN_AS) and not people.still(other), "it has expired"
            assert await comes_in(people, "d3") is None
            for changed in ({"level": Level.ADMIN}, {"team_id": "red"}, {"user_id": 9}, {"token_id": 5}):
                assert not people.still(Viewer(**{**_fields(SEEN_AS), **changed}))
            assert not people.still(Viewer()), "the owner alone is over"

    asyncio.run(main())


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_a_broken_link_is_doubted_at_once_and_a_silent_people_soon() -> None:
    async def main() -> None:
        core = Scripted()
        async with KnownPeople(core, trusted=0.0) as people:
            core.say.put_nowait(view(1, ANN))
            assert await comes_in(people, "d1") == ANN, "it waits for a word"
            with pytest.raises(Unavailable):
                await comes_in(people, "d1")
        core = Scripted()
        async with KnownPeople(core, trusted=1000.0) as people:
            core.say.put_nowait(view(1, ANN, single_user=False))
            assert await comes_in(people, "d1") == ANN
            core.say.put_nowait(Unavailable("the core restarts"))
            await until(lambda: len(core.asked) == 3)
            with pytest.raises(Unavailable):
                await alone(people)
            assert core.asked[-1].seen == -1, "all is asked again"
            core.say.put_nowait(view(9, ANN))
            assert await comes_in(people, "d1") == ANN

    asyncio.run(main())


def test_whoever_made_a_change_hears_of_it_once_the_copy_has_it() -> None:
    """Between one answer of People and the next question nobody waits there: a change may fall into that gap."""

    async def main() -> None:
        core = Scripted()
        async with KnownPeople(core) as people:
            core.say.put_nowait(view(1, ANN))
            assert await comes_in(people, "d1") == ANN
            await until(lambda: len(core.asked) == 2)
            catching_up = asyncio.create_task(people.catch_up())
            await until(lambda: len(core.asked) == 3)
            assert (core.asked[2].wait, core.asked[2].seen) == (False, 1)
            core.say.put_nowait(PeopleView(revision=1, single_user=False))  # to the one who waits: no news yet
            await until(lambda: len(core.asked) == 4)
            core.say.put_nowait(view(2))
            await catching_up
            assert await comes_in(people, "d1") is None
            core.say.put_nowait(view(1, ANN))
            await until(lambda: core.say.empty())
            await asyncio.sleep(0)
            assert await comes_in(people, "d1") is None, "what was overtaken counts no more"

    asyncio.run(main())
