"""Work that waits for somebody is done in another loop and comes back to the actor as a message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from gpuyard.actors.base import LATER, Ref, Reply, decline, reply_with
from gpuyard.actors.model.errors import Busy, GpuyardError, Internal, Unavailable
from gpuyard.actors.model.message import Message

log = logging.getLogger("gpuyard.webhooks")

T = TypeVar("T")

AGAIN_SECONDS: Final = 1.0


class GoOn(Message, frozen=True, kw_only=True):
    """Something slow is done: go on with `then`, whose answer is for `reply`. From: the other loop."""

    then: Any
    reply: Any = None


class Aside:
    """`run` has a coroutine run in the other loop, `me` is the actor whose work it is."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, None]], None], me: Ref) -> None:
        self._run = run
        self._me = me

    def do(
        self,
        work: Coroutine[Any, Any, T],
        then: Callable[[T], Any],
        reply: Reply | None,
        failed: Callable[[], Any] = lambda: None,
    ) -> Any:
        """Have `work` done and go on with `then` in the actor, or with `failed`: the error is for `reply`."""

        async def run() -> None:
            try:
                value = await work
            except asyncio.CancelledError:
                decline(reply, Unavailable("the webhooks are stopping: try again shortly"))
                raise
            except GpuyardError as error:
                await self._come_back(failed, None)
                decline(reply, error)
            except Exception as error:
                log.exception("the webhooks failed")
                await self._come_back(failed, None)
                decline(reply, Internal(f"the webhooks failed: {type(error).__name__}"))
            else:
                await self._come_back(lambda: then(value), reply)

        self._run(run())
        return LATER

    async def _come_back(self, then: Callable[[], Any], reply: Reply | None) -> None:
        """It must not be lost, or its message would count as on its way for ever."""
        while True:
            try:
                await asyncio.wrap_future(self._me.ask(GoOn(then=then, reply=reply)))
            except Busy:
                await asyncio.sleep(AGAIN_SECONDS)
            except GpuyardError as error:  # it is stopping, or failed at it
                decline(reply, error)
                return
            else:
                return


def go_on(message: GoOn) -> None:
    """What an actor does with it."""
    try:
        answer = message.then()
    except GpuyardError as error:
        decline(message.reply, error)
    else:
        reply_with(message.reply, answer)
