"""Who may come in, as the Frontend knows it: a copy of all credentials, never older than a moment.

One question for news waits at People all the time, so a change is here a moment after it is durable; and whoever makes
a change has its answer only once the copy has caught up with it (`catch_up`). The copy is trusted for `TRUSTED` seconds
after the last word from People, which comes every two; when the link breaks it is trusted no more at once.
Without a trusted copy nobody comes in: 503, as while the core starts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import WatchPeople
from gpuyard.actors.model.errors import GpuyardError, Unavailable
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import Credential, PeopleView
from gpuyard.api.core import Core

log = logging.getLogger("gpuyard.api")

TRUSTED: Final = 5.0
ASK_SECONDS: Final = 4.0
PATIENCE: Final = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5


class KnownPeople:
    """`async with KnownPeople(core) as people:` follows People; everything belongs to one event loop.

    `changed` is called (in the loop) whenever somebody may have lost a right: after each news, and each time the copy
    is confirmed, since tokens also expire. `trusted` (seconds) is how old the last word from People may be.
    """

    def __init__(self, core: Core, clock: Callable[[], float] = time.time, trusted: float = TRUSTED) -> None:
        self._core = core
        self._clock = clock
        self._trusted_for = trusted
        self._revision = -1
        self._single_user = False
        self._by_digest: dict[str, Credential] = {}
        self._confirmed = float("-inf")
        self._trusted = asyncio.Event()
        self._used: dict[int, float] = {}
        self._following: asyncio.Task[None] | None = None
        self.changed: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._following is not None
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    # --- questions -------------------------------------------------------------------------------------------------

    @property
    def certain(self) -> bool:
        """May the copy be trusted now? If not, `make_certain` waits for it. (Every request asks: no coroutine.)"""
        return time.monotonic() - self._confirmed < self._trusted_for

    async def make_certain(self) -> None:
        """Wait a little for a word from People. Raises Unavailable."""
        self._trusted.clear()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._trusted.wait()
        except TimeoutError:
            raise Unavailable("it is not known yet who may come in: try again shortly") from None

    async def catch_up(self) -> None:
        """After a change was answered: be at least as new as it. A copy that can't is trusted no more."""
        asked = time.monotonic()
        try:
            self._learn(await self._core.ask(names.PEOPLE, WatchPeople(seen=self._revision, wait=False)), asked)
        except GpuyardError as error:
            self._doubt(error)

    @property
    def single_user(self) -> bool:
        """Was no user ever added?"""
        return self._single_user

    def credential(self, digest: str) -> Credential | None:
        """The token of this digest, if it opens the door now; its use is noted."""
        found = self._by_digest.get(digest)
        now = self._clock()
        if found is None or (found.expires_at is not None and now >= found.expires_at):
            return None
        self._used[found.token_id] = now
        return found

    def still(self, viewer: Viewer) -> bool:
        """May `viewer`, who came in earlier, still be here, with the same rights? For streams that stay open."""
        if viewer.token_id is None:
            return self._single_user
        now = self._clock()
        return any(
            one.token_id == viewer.token_id
            and (one.level, one.team_id, one.user_id) == (viewer.level, viewer.team_id, viewer.user_id)
            and (one.expires_at is None or now < one.expires_at)
            for one in self._by_digest.values()
        )

    # --- following -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        pause = FIRST_PAUSE
        while True:
            asked = time.monotonic()
            used, self._used = self._used, {}
            try:
                view: PeopleView = await self._core.ask(
                    names.PEOPLE, WatchPeople(seen=self._revision, used=used), ASK_SECONDS
                )
            except Exception as error:  # whatever it is: whoever stops asking would keep everybody out for ever
                if not isinstance(error, GpuyardError):
                    log.exception("People could not be asked who may come in")
                self._used = {**used, **self._used}
                self._doubt(error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            pause = FIRST_PAUSE
            self._learn(view, asked)

    def _learn(self, view: PeopleView, asked: float) -> None:
        if view.revision < self._revision:
            return  # overtaken
        # What was answered late was true when it was asked at the earliest: the age counts from there.
        self._confirmed = max(self._confirmed, asked)
        self._revision, self._single_user = view.revision, view.single_user
        if view.credentials is not None:
            self._by_digest = {one.digest: one for one in view.credentials}
        self._trusted.set()
        self.changed()

    def _doubt(self, error: Exception) -> None:
        """The core is away, or does not answer: nobody knows what has changed."""
        if self._trusted.is_set():
            log.warning("who may come in is not known at the moment: %s", str(error))
        self._confirmed = float("-inf")
        self._revision = -1
        self._trusted.clear()
