"""BlobStore: job files by their content, on the server and on each worker. The server's takes files in and hands out
their pieces; a worker's fetches what it does not have from the server's.

Takes StoreFile (Frontend, asked), GetManifest and ReadChunk (a worker's blobs over the bulk socket, asked), FetchBlob
(whoever starts runs, asked), KeepBlobs, Ready. All work with the disk is done by helper threads. A fetch keeps a few
pieces on their way, each checked when it arrives; it waits out a server that is away, and goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pykka

from gpuyard.actors.base import LATER, Actor, Context, Ref, Reply, decline, reply_with
from gpuyard.actors.blobs.files import Arriving, BlobFiles
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import FetchBlob, GetManifest, KeepBlobs, ListBlobs, ReadChunk, Ready, StoreFile
from gpuyard.actors.model.errors import Busy, GpuyardError, Internal, NotFound, StoreFailed, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import BlobChunk, BlobFetched, BlobManifest, BlobStored

log = logging.getLogger("gpuyard.blobs")

FOLDER: Final = "blobs"
THREADS: Final = 2
WINDOW: Final = 4
TIDY_SECONDS: Final = 3600.0
FIRST_PAUSE: Final = 0.2
LAST_PAUSE: Final = 10.0


class Done(Message, frozen=True, kw_only=True):
    """A helper thread, or the server, has answered: go on with `then`. From: that thread. To: the store itself."""

    then: Any
    reply: Any


class Again(Message, frozen=True, kw_only=True):
    """Try to fetch this blob again. From: the store's own timer. Repeat: harmless."""

    blob: str


class TidyUp(Message, frozen=True, kw_only=True):
    """Ask which blobs are still wanted. From: the store's own timer. Repeat: harmless."""


@dataclass
class Fetch:
    """One blob on its way; `waiters` are answered at its end."""

    blob: str
    waiters: list[Reply] = field(default_factory=list)
    arriving: Arriving | None = None
    # Pieces that were asked for and are not yet kept.
    asked: set[int] = field(default_factory=set)
    failures: int = 0
    paused: bool = False


class BlobStore(Actor):
    """Keeps DATA/blobs. `source` is the server's store; None on the server itself."""

    def __init__(self, context: Context, data_dir: Path, source: Ref | None = None) -> None:
        super().__init__(context)
        self._files = BlobFiles(Path(data_dir).absolute() / FOLDER)
        self._source = source
        self._fetches: dict[str, Fetch] = {}

    def started(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        if self._source is None:
            self.inbox.after(TIDY_SECONDS, TidyUp())

    def stopped(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for fetch in self._fetches.values():
            _answer(fetch, Unavailable("the blobs are stopping: try again shortly"))

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case StoreFile(path=path, limit=limit):
                return self._work(reply, lambda: self._take(Path(path), limit))
            case GetManifest(blob=blob):
                return self._work(reply, lambda: self._manifest(blob))
            case ReadChunk(blob=blob, index=index):
                return self._work(reply, lambda: BlobChunk(data=self._files.piece(blob, index)))
            case FetchBlob(blob=blob):
                return self._fetch(blob, reply)
            case KeepBlobs(blobs=blobs):
                return self._work(reply, lambda: self._files.keep(blobs))
            case TidyUp():
                return self._tidy_up()
            case Done(then=then, reply=done):
                return then(done)
            case Again(blob=blob):
                return self._go_on(blob)
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    # --- what the disk has ---

    def _work(self, reply: Reply | None, job: Callable[[], Any]) -> Any:
        """Done by a helper thread, which answers."""
        done = self._threads.submit(_guarded, job)
        if reply is None:
            done.add_done_callback(_log_failure)
        else:
            done.add_done_callback(lambda done: _copy(done, reply))
        return LATER

    def _take(self, path: Path, limit: int) -> BlobStored:
        blob, size = self._files.take(path, limit)
        return BlobStored(blob=blob, size=size)

    def _manifest(self, blob: str) -> BlobManifest:
        size, pieces = self._files.pieces(blob)
        return BlobManifest(size=size, chunks=pieces)

    def _tidy_up(self) -> None:
        """What no stored job names is not wanted any more: a job that was deleted is not tried again."""
        self.inbox.after(TIDY_SECONDS, TidyUp())
        ref = self.actor_ref

        def listed(reply: Reply) -> None:
            if reply.exception() is None:
                _tell(ref, KeepBlobs(blobs=tuple(reply.result())))

        self.context.ref(names.HISTORY).ask(ListBlobs()).add_done_callback(listed)

    # --- fetching ---

    def _fetch(self, blob: str, reply: Reply | None) -> Any:
        size = self._files.size(blob)
        if size is not None:
            return BlobFetched(blob=blob, path=str(self._files.path(blob)), size=size)
        if self._source is None:
            raise NotFound(f"blob {blob} is not here")
        fetch = self._fetches.get(blob)
        if fetch is None:
            fetch = self._fetches[blob] = Fetch(blob)
            self._ask_manifest(fetch)
        if reply is not None:
            fetch.waiters.append(reply)
        return LATER

    def _ask_manifest(self, fetch: Fetch) -> None:
        assert self._source is not None
        self._then(self._source.ask(GetManifest(blob=fetch.blob)), fetch, self._opened_by)

    def _opened_by(self, fetch: Fetch, manifest: BlobManifest) -> None:
        opening = self._threads.submit(
            _guarded, lambda: self._files.arriving(fetch.blob, manifest.size, manifest.chunks)
        )
        self._then(opening, fetch, self._arrives)

    def _arrives(self, fetch: Fetch, arriving: Arriving) -> None:
        fetch.arriving = arriving
        self._ask_pieces(fetch)

    def _ask_pieces(self, fetch: Fetch) -> None:
        assert self._source is not None and fetch.arriving is not None
        if not fetch.arriving.missing and not fetch.asked:
            self._then(self._threads.submit(_guarded, fetch.arriving.finish), fetch, self._finished)
            return
        for index in sorted(fetch.arriving.missing - fetch.asked)[: WINDOW - len(fetch.asked)]:
            fetch.asked.add(index)
            asked = self._source.ask(ReadChunk(blob=fetch.blob, index=index))
            self._then(asked, fetch, partial(self._came, index), index)

    def _came(self, index: int, fetch: Fetch, chunk: BlobChunk) -> None:
        arriving = fetch.arriving
        assert arriving is not None
        kept = self._threads.submit(_guarded, lambda: arriving.put(index, chunk.data))
        self._then(kept, fetch, partial(self._kept, index), index)

    def _kept(self, index: int, fetch: Fetch, _: None) -> None:
        fetch.asked.discard(index)
        fetch.failures = 0
        if not fetch.paused:
            self._ask_pieces(fetch)

    def _finished(self, fetch: Fetch, _: None) -> None:
        del self._fetches[fetch.blob]
        size = self._files.size(fetch.blob)
        _answer(fetch, BlobFetched(blob=fetch.blob, path=str(self._files.path(fetch.blob)), size=size or 0))

    def _then(self, reply: Reply, fetch: Fetch, step: Callable[[Fetch, Any], None], index: int | None = None) -> None:
        """Once `reply` is there, in this actor's own thread: `step`, or what its error asks for."""

        def go_on(done: Reply) -> None:
            if self._fetches.get(fetch.blob) is not fetch:
                return  # it has failed meanwhile
            error = done.exception()
            if error is None:
                step(fetch, done.result())
            else:
                if index is not None:
                    fetch.asked.discard(index)
                self._stumbled(fetch, error)

        ref = self.actor_ref
        reply.add_done_callback(lambda done: _tell(ref, Done(then=go_on, reply=done)))

    def _stumbled(self, fetch: Fetch, error: BaseException) -> None:
        """A server that is away is waited for; all else ends the fetch."""
        waits = isinstance(error, Busy | Unavailable) and not isinstance(error, StoreFailed)
        if not waits:
            del self._fetches[fetch.blob]
            _answer(fetch, error)
        elif not fetch.paused:
            fetch.paused = True
            pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(fetch.failures, 10))
            fetch.failures += 1
            log.info("blob %s: %s; trying again in %.1f s", fetch.blob, error, pause)
            self.inbox.after(pause, Again(blob=fetch.blob))

    def _go_on(self, blob: str) -> None:
        fetch = self._fetches.get(blob)
        if fetch is None or not fetch.paused:
            return
        fetch.paused = False
        if fetch.arriving is None:
            self._ask_manifest(fetch)
        else:
            self._ask_pieces(fetch)


def _guarded(job: Callable[[], Any]) -> Any:
    """What a helper thread does: errors that were not foreseen are bugs, and said so."""
    try:
        return job()
    except GpuyardError:
        raise
    except Exception as error:
        log.exception("the blobs failed")
        raise Internal(f"the blobs failed: {type(error).__name__}: {error}") from error


def _copy(done: Reply, reply: Reply) -> None:
    if done.cancelled():
        decline(reply, Unavailable("the blobs are stopping: try again shortly"))
    elif (error := done.exception()) is not None:
        decline(reply, error)
    else:
        reply_with(reply, done.result())


def _log_failure(done: Reply) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("the blobs could not be tidied up: %s", error)


def _answer(fetch: Fetch, answer: BlobFetched | BaseException) -> None:
    for reply in fetch.waiters:
        if isinstance(answer, BaseException):
            decline(reply, answer)
        else:
            reply_with(reply, answer)


def _tell(ref: pykka.ActorRef[Any], message: Message) -> None:
    """From another thread; an actor that has ended needs no news."""
    with suppress(pykka.ActorDeadError, Busy):
        ref.tell(message)
