"""What follows from decisions once they are durable: messages, answers, news (DESIGN 3).

Everything that is to leave stands here in one row, each behind the commit that it waits for, so that nobody hears of
what the store could still lose. A question that is asked meanwhile stands in the same row: its answer comes behind the
commits that it has seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from gpuyard.actors.base import LATER, Context, Reply, decline, reply_with
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import Publish, WantRun
from gpuyard.actors.model.commit import Deleted, EventRow
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Outbox

# News of runs is told a little later, together: who looks does not see it, and the next start has the processor to
# itself. What somebody waits for is told before the answer: who looks again then finds it.
NEWS_SECONDS = 0.01


def starts_first(tells: list[tuple[str, Message]]) -> tuple[tuple[str, Message], ...]:
    """What else leaves with a start must not stand between two jobs."""
    return tuple(sorted(tells, key=lambda tell: not isinstance(tell[1], WantRun)))


class TellNews(Message, frozen=True, kw_only=True):
    """What happened a moment ago is published. From: the Scheduler's own timer. Repeat: harmless."""


class Effect(NamedTuple):
    """What is done once commit `number` is durable. `finish` makes the answer from the store's results."""

    number: int
    tells: list[tuple[str, Message]]
    reply: Reply | None
    answer: Any
    finish: Callable[[Deleted, Outbox], Any] | None
    events: list[EventRow]


class Effects:
    """`after` sets a timer of the Scheduler's, `revision` is that of what it knows now."""

    def __init__(self, context: Context, after: Callable[[float, Message], None], revision: Callable[[], int]) -> None:
        self._context = context
        self._after = after
        self._revision = revision
        self._waiting: deque[Effect] = deque()
        self._news: list[EventRow] = []  # durable, and not yet published

    def add(self, effect: Effect) -> None:
        """It is performed when its commit is durable."""
        self._waiting.append(effect)

    def add_behind_all(self, effect: Effect) -> None:
        """It is performed behind whatever waits, at once where nothing does; its number is that of the last commit."""
        if self._waiting:
            self._waiting.append(effect._replace(number=self._waiting[-1].number))
        else:
            self._perform(effect, ())

    @property
    def waiting(self) -> bool:
        """Is there one that waits for a commit?"""
        return bool(self._waiting)

    def committed(self, number: int, results: dict[int, tuple[Deleted, ...]]) -> None:
        """All commits up to `number` are durable; `results` are what the store found in them."""
        while self._waiting and self._waiting[0].number <= number:
            effect = self._waiting.popleft()
            self._perform(effect, results.get(effect.number, ()))

    def void(self, error: GpuyardError) -> None:
        """None of the commits under way will be durable: whoever waits for an answer gets `error`."""
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            decline(one.reply, error)

    def tell_news(self) -> None:
        """Publish what has gathered."""
        news, self._news = self._news, []
        if news:
            self._context.ref(names.LINK).tell(Publish(events=tuple(news), revision=self._revision()))

    def _perform(self, effect: Effect, results: tuple[Deleted, ...]) -> None:
        self.send(effect.tells)
        self._keep_news(effect)
        if effect.reply is None or effect.reply.done():
            return
        try:
            answer = effect.answer
            if effect.finish is not None:
                after = Outbox()
                answer = effect.finish(results[0], after)
                self.send(after.tells)
        except GpuyardError as error:
            decline(effect.reply, error)
        else:
            if answer is not LATER:
                reply_with(effect.reply, answer)

    def _keep_news(self, effect: Effect) -> None:
        if effect.events and not self._news:
            self._after(NEWS_SECONDS, TellNews())
        self._news += effect.events
        if effect.events and effect.reply is not None:
            self.tell_news()

    def send(self, tells: list[tuple[str, Message]]) -> None:
        """Messages that wait for nothing."""
        for to, message in tells:
            self._context.ref(to).tell(message)
