"""A provider's desk: its own thread and event loop, where the calls of its book are made.

Each call is answered exactly once by `answer(call, result, trouble)`, in this thread. A call is given
`call_seconds`, and at most `calls_at_once` are under way; logs have half of these, so that they delay no submit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, assert_never

from gpuyard.actors.cloud.ends import TAIL_BYTES, explain
from gpuyard.actors.cloud.provider import Provider, ProviderError, Refused, Retryable
from gpuyard.actors.cloud.runlogs import RunLogs
from gpuyard.actors.loop_thread import JOIN_SECONDS, LoopThread
from gpuyard.actors.model.cloud_calls import Cancel, CloudCall, Fetch, Fetched, Find, Poll, Probe, Submit, Sweep, Upload
from gpuyard.actors.model.cloud_remote import Health, Order, Remote, Trouble
from gpuyard.actors.model.errors import Busy

log = logging.getLogger("gpuyard.cloud")

Answer = Callable[[CloudCall, Any, Trouble | None], None]
Progress = Callable[[int, str], None]
BUSY_SECONDS = 0.2
# No more often is told how far an upload is; its log holds every word.
PROGRESS_SECONDS = 0.5


class Desk:
    """`runs` is where the runs' logs lie; `progress` hears (fence, words) of uploads, and may raise Busy.

    All methods may be called from any thread.
    """

    def __init__(
        self, name: str, provider: Provider, runs: Path, log_cap: int, answer: Answer, progress: Progress
    ) -> None:
        self.name = name
        self._provider = provider
        self._logs = RunLogs(runs, log_cap)
        self._answer = answer
        self._progress = progress
        most = max(2, provider.capabilities.calls_at_once)
        self._slots = asyncio.Semaphore(most)
        self._log_slots = asyncio.Semaphore(most // 2)
        self._thread = LoopThread(f"cloud-{name}", self._close)

    def start(self) -> None:
        self._thread.start()

    def begin(self, call: CloudCall) -> None:
        """Make this call as soon as there is room for it."""
        self._thread.do(self._call(call))

    def test(self, done: Callable[[Health | BaseException], None]) -> None:
        """Does the provider answer? `done` gets its word, or what was wrong."""
        self._thread.do(self._test(done))

    def hear(self, headers: dict[str, str], body: bytes, done: Callable[[str | BaseException], None]) -> None:
        """Is this webhook the provider's? `done` gets the remote id it is about, or what was wrong."""
        self._thread.do(self._hear(headers, body, done))

    def forget(self, fence: int) -> None:
        self._thread.call(self._logs.forget, fence)

    def stop(self) -> None:
        """Give up what is under way and end the thread."""
        self._thread.stop()

    # --- in the thread -----------------------------------------------------------------------------------------

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(JOIN_SECONDS / 2):
                await self._provider.close()
        except Exception:
            log.exception("%s could not be closed", self.name)

    async def _call(self, call: CloudCall) -> None:
        result, trouble = None, None
        try:
            async with self._slots_for(call), asyncio.timeout(self._seconds(call)):
                result = await self._do(call)
        except TimeoutError:
            trouble = Trouble(kind="unsure", text=f"{self.name} did not answer within {self._seconds(call):g} s")
        except Retryable as error:
            trouble = Trouble(kind=error.kind, text=str(error), retry_after=error.retry_after)
        except Refused as error:
            trouble = Trouble(kind="final", text=str(error))
        except Exception as error:
            log.exception("%s failed at %s", self.name, type(call).__name__)
            trouble = Trouble(kind="unsure", text=f"{self.name} failed: {type(error).__name__}: {error}")
        await self._tell(call, result, trouble)

    async def _tell(self, call: CloudCall, result: Any, trouble: Trouble | None) -> None:
        """An answer must not be lost, or its call would stay under way for ever."""
        while True:
            try:
                self._answer(call, result, trouble)
            except Busy:
                await asyncio.sleep(BUSY_SECONDS)
            else:
                return

    def _slots_for(self, call: CloudCall) -> asyncio.Semaphore:
        return self._log_slots if isinstance(call, Fetch | Upload) else self._slots

    def _seconds(self, call: CloudCall | None = None) -> float:
        able = self._provider.capabilities
        return able.upload_seconds if isinstance(call, Upload) else able.call_seconds

    async def _do(self, call: CloudCall) -> Any:
        match call:
            case Upload():
                return await self._upload(call)
            case Submit():
                return await self._submit(call)
            case Find():
                return await self._find(call)
            case Poll(jobs):
                return await self._provider.status([remote_id for _, remote_id in jobs])
            case Fetch():
                return await self._fetch(call)
            case Cancel(remote_id=remote_id):
                return await self._provider.cancel(remote_id)
            case Sweep(owner):
                return await self._provider.sweep(owner)
            case Probe():
                health: Health = await self._provider.health()
                return health
            case _:
                assert_never(call)

    async def _upload(self, call: Upload) -> dict[str, str]:
        order, latest = call.order, ""

        def progress(words: str) -> None:
            nonlocal latest
            self._logs.say(order.fence, words)
            latest = words

        async def tell() -> None:
            told = ""
            while True:
                if latest != told:
                    told = latest
                    with suppress(Busy):
                        self._progress(order.fence, told)
                await asyncio.sleep(PROGRESS_SECONDS)

        telling = asyncio.create_task(tell())
        try:
            return dict(await self._provider.upload(order, progress))
        finally:
            telling.cancel()

    async def _submit(self, call: Submit) -> Remote:
        order = call.order
        try:
            remote = await self._provider.submit(order)
        except ProviderError as error:
            self._logs.say(order.fence, f"{self.name}: {error}")
            raise
        self._logs.say(order.fence, f"{self.name} has it as {remote.id} {remote.url}".rstrip())
        self._logs.accepted(order.fence, self.name, remote)
        return remote

    async def _find(self, call: Find) -> dict[str, tuple[Remote, ...]]:
        """What was written down when the provider answered saves the question."""
        found: dict[str, tuple[Remote, ...]] = {}
        unknown = []
        for order in call.orders:
            note = None if call.anew else self._logs.note(order.fence)
            if note is not None and note.provider == self.name:
                found[order.token] = (Remote(id=note.remote_id, url=note.url),)
            else:
                unknown.append(order)
        if unknown:
            seen = await self._provider.find(unknown)
            if not self._provider.capabilities.tokens:
                seen = await self._nobody_elses(unknown, seen, {} if call.anew else call.told)
            found |= {token: tuple(remotes) for token, remotes in seen.items()}
        for order in unknown:
            if found.get(order.token):
                self._logs.say(order.fence, f"found again at {self.name} as {found[order.token][0].id}")
                self._logs.accepted(order.fence, self.name, found[order.token][0])
        return found

    async def _nobody_elses(
        self, orders: Sequence[Order], seen: Mapping[str, Sequence[Remote]], told: Mapping[str, str]
    ) -> dict[str, Sequence[Remote]]:
        """Of what a webhook named and all that looks like an order's job, the first that is no other run's; each is
        given once."""
        taken = await asyncio.to_thread(self._logs.claims, self.name)
        chosen: dict[str, Sequence[Remote]] = {}
        for order in sorted(orders, key=lambda order: order.fence):
            named = [Remote(id=told[order.token])] if order.token in told else []
            for remote in [*named, *seen.get(order.token, ())]:
                if taken.setdefault(remote.id, order.fence) == order.fence:
                    chosen[order.token] = [remote]
                    break
        return chosen

    async def _fetch(self, call: Fetch) -> Fetched:
        offset = self._logs.offset(call.fence)
        if offset is not None:
            piece = await self._provider.logs(call.remote_id, offset)
            self._logs.append(call.fence, piece.data)
            if piece.more and piece.data:
                return Fetched(more=True)
        if call.code is None:
            return Fetched()
        why = explain(call.code, self._logs.tail(call.fence, TAIL_BYTES))
        return Fetched(exit_class=why.exit_class, message=why.message)

    async def _test(self, done: Callable[[Health | BaseException], None]) -> None:
        try:
            async with asyncio.timeout(self._seconds()):
                done(await self._provider.health())
        except TimeoutError:
            done(Retryable(f"{self.name} did not answer within {self._seconds():g} s"))
        except (ProviderError, OSError, ValueError) as error:
            done(error)
        except Exception as error:
            log.exception("%s failed", self.name)
            done(error)

    async def _hear(self, headers: dict[str, str], body: bytes, done: Callable[[str | BaseException], None]) -> None:
        webhook = getattr(self._provider, "webhook", None)
        if webhook is None:
            done(Refused(f"{self.name} has no webhooks"))
            return
        try:
            async with asyncio.timeout(self._seconds()):
                done(await webhook(headers, body))
        except (ProviderError, OSError, ValueError) as error:
            done(error)
        except Exception as error:
            log.exception("%s failed", self.name)
            done(error)
