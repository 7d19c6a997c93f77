"""The blobs of a server and of a worker: over real sockets, through breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.blob_store import BlobStore
from gpuyard.actors.blobs.digest import PIECE
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import FetchBlob, GetManifest, KeepBlobs, ListBlobs, ReadChunk, StoreFile
from gpuyard.actors.model.errors import (
    Busy,
    GpuyardError,
    InvalidInput,
    NotFound,
    StoreFailed,
    Unavailable,
    Unsupported,
)
from gpuyard.actors.model.views import BlobChunk, BlobFetched, BlobManifest, BlobStored
from gpuyard.transport.bulk import Bulk
from gpuyard.transport.peer_ref import PeerRef
from tests import leaks
from tests.answering import Answering, Cast, cast
from tests.hosts import ServerHost, WorkerHost, beat, server_host, worker_host
from tests.support import eventually


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@contextmanager
def hosts(tmp_path: Path) -> Iterator[tuple[ServerHost, WorkerHost]]:
    """A server with blobs, and an accepted worker whose blobs fetch from there over the bulk socket."""
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        server.cast.start(BlobStore, names.BLOBS, tmp_path / "server")
        source = PeerRef(worker.cast.directory.ref(names.BULK), names.BLOBS, timeout=20)
        worker.cast.start(BlobStore, names.BLOBS, tmp_path / "worker", source)
        accept(server, worker)
        yield server, worker
        server.cast.end(names.BLOBS)
        worker.cast.end(names.BLOBS)


def accept(server: ServerHost, worker: WorkerHost, n: int = 1) -> None:
    worker.wait_up()
    worker.say(beat(n))
    server.answer(eventually(lambda: [s for s in server.said("w1") if s.said.n == n])[0])
    eventually(lambda: server.stats(names.BULK).sessions)


def stored(made: Cast, path: Path, limit: int = 1 << 30) -> BlobStored:
    found = made.directory.ref(names.BLOBS).ask(StoreFile(path=str(path), limit=limit)).result(20)
    assert isinstance(found, BlobStored)
    return found


def big(tmp_path: Path, pieces: int = 9) -> Path:
    path = tmp_path / "big"
    path.write_bytes(b"".join(bytes([n]) * PIECE for n in range(pieces)) + b"end")
    return path


def test_a_worker_fetches_a_file_whole(tmp_path: Path) -> None:
    with hosts(tmp_path) as (server, worker):
        source = big(tmp_path)
        blob = stored(server.cast, source)
        ref = worker.cast.directory.ref(names.BLOBS)
        twice = [ref.ask(FetchBlob(blob=blob.blob)) for _ in range(2)]
        for asked in twice:
            fetched = asked.result(30)
            assert isinstance(fetched, BlobFetched) and fetched.size == blob.size == source.stat().st_size
            assert Path(fetched.path).read_bytes() == source.read_bytes()
        before = server.stats(names.BULK).received
        assert ref.ask(FetchBlob(blob=blob.blob)).result(10) == fetched
        assert server.stats(names.BULK).received == before, "what is here is not fetched again"


def test_a_break_is_waited_out_and_what_had_arrived_is_not_fetched_again(tmp_path: Path) -> None:
    source = big(tmp_path)
    with hosts(tmp_path) as (server, worker):
        blob = stored(server.cast, source).blob
        real, asked = server.cast.directory.ref(names.BLOBS), list[int]()
        manifest = real.ask(GetManifest(blob=blob)).result(10)
        pieces = {index: real.ask(ReadChunk(blob=blob, index=index)).result(10) for index in range(10)}

        def halting(message: ReadChunk) -> BlobChunk:
            asked.append(message.index)
            if len(asked) > 5:
                raise Unavailable("the server is going away")
            return pieces[message.index]

        server.cast.end(names.BLOBS)
        server.cast.play(names.BLOBS, {GetManifest: manifest, ReadChunk: halting})
        fetching = worker.cast.directory.ref(names.BLOBS).ask(FetchBlob(blob=blob))
        eventually(lambda: len(asked) > 5)
        # The bulk socket of the server goes, and comes back elsewhere; so does the worker's own store of blobs.
        server.cast.end(names.BULK)
        server.cast.end(names.BLOBS)
        server.cast.start(BlobStore, names.BLOBS, tmp_path / "server")
        server.cast.start(Bulk, names.BULK, server.settings)
        fetched = fetching.result(60)
        assert Path(fetched.path).read_bytes() == source.read_bytes()
        assert server.stats(names.BULK).received <= 1 + 10 - 5 + 1, "a greeting, and only what was missing"


def test_what_arrived_before_a_crash_stays(tmp_path: Path) -> None:
    source = big(tmp_path)
    with cast() as made:
        made.start(BlobStore, names.BLOBS, tmp_path)
        blob = stored(made, source).blob
        real = made.directory.ref(names.BLOBS)
        asked: list[int] = []

        def some(message: ReadChunk) -> Any:
            asked.append(message.index)
            if message.index >= 4 and len(asked) < 8:
                raise NotFound("gone")
            return real.ask(message).result(10)

        made.play("source", {GetManifest: lambda m: real.ask(m).result(10), ReadChunk: some})
        made.start(BlobStore, "there", tmp_path / "there", made.directory.ref("source"))
        with pytest.raises(NotFound):
            made.directory.ref("there").ask(FetchBlob(blob=blob)).result(20)
        made.end("there")
        asked[:] = list(range(100))
        made.start(BlobStore, "there", tmp_path / "there", made.directory.ref("source"))
        fetched = made.directory.ref("there").ask(FetchBlob(blob=blob)).result(20)
        assert Path(fetched.path).read_bytes() == source.read_bytes()
        again = set(asked[100:])
        assert len(again) < 10 and again >= set(range(4, 10))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({GetManifest: NotFound("no such blob")}, NotFound),
        ({GetManifest: BlobManifest(size=5, chunks=bytes(32))}, InvalidInput),
        ({GetManifest: StoreFailed("the disk of the server")}, StoreFailed),
        ({GetManifest: Unsupported("older")}, Unsupported),
    ],
)
def test_what_will_never_come_is_said_so(tmp_path: Path, answers: dict[Any, Any], error: type[GpuyardError]) -> None:
    with cast() as made:
        made.play("source", answers)
        made.start(BlobStore, names.BLOBS, tmp_path, made.directory.ref("source"))
        with pytest.raises(error):
            made.directory.ref(names.BLOBS).ask(FetchBlob(blob="0" * 64)).result(20)


def test_a_server_that_hands_out_wrong_pieces_gets_nothing_past_the_check(tmp_path: Path) -> None:
    with cast() as made:
        made.start(BlobStore, names.BLOBS, tmp_path)
        blob = stored(made, big(tmp_path)).blob
        real = made.directory.ref(names.BLOBS)
        wrong = {GetManifest: real.ask(GetManifest(blob=blob)).result(10), ReadChunk: BlobChunk(data=b"evil" * 65_536)}
        made.play("source", wrong)
        made.start(BlobStore, "there", tmp_path / "there", made.directory.ref("source"))
        with pytest.raises(InvalidInput, match="not what it should be"):
            made.directory.ref("there").ask(FetchBlob(blob=blob)).result(20)
        assert not (tmp_path / "there" / "blobs" / blob).exists()


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with cast() as made:
        made.start(BlobStore, names.BLOBS, tmp_path)
        blob = stored(made, big(tmp_path, 2)).blob
        real, refusals = made.directory.ref(names.BLOBS), iter(range(3))

        def at_times(message: Any) -> Any:
            if next(refusals, None) is not None:
                raise Busy("later")
            return real.ask(message).result(10)

        made.play("source", {GetManifest: at_times, ReadChunk: at_times})
        made.start(BlobStore, "there", tmp_path / "there", made.directory.ref("source"))
        assert made.directory.ref("there").ask(FetchBlob(blob=blob)).result(30).blob == blob


def test_a_server_has_nowhere_to_fetch_from(tmp_path: Path) -> None:
    with cast() as made:
        made.start(BlobStore, names.BLOBS, tmp_path)
        with pytest.raises(NotFound):
            made.directory.ref(names.BLOBS).ask(FetchBlob(blob="0" * 64)).result(10)
        with pytest.raises(InvalidInput):
            made.directory.ref(names.BLOBS).ask(StoreFile(path=str(tmp_path), limit=9)).result(10)
        made.directory.ref(names.BLOBS).tell(KeepBlobs())
        assert made.crashes == []


def test_who_waits_for_a_blob_hears_of_the_end_of_the_store(tmp_path: Path) -> None:
    with cast() as made:
        made.play("source", {GetManifest: Answering.NEVER})
        made.start(BlobStore, names.BLOBS, tmp_path, made.directory.ref("source"))
        asked = made.directory.ref(names.BLOBS).ask(FetchBlob(blob="0" * 64))
        eventually(lambda: GetManifest(blob="0" * 64) in made.heard["source"])
        made.end(names.BLOBS)
        with pytest.raises(Unavailable):
            asked.result(10)


def test_a_heartbeat_does_not_wait_behind_a_file(tmp_path: Path) -> None:
    """The server's blobs hang with a worker's questions open, and its bulk socket is full: beats come and go."""
    with hosts(tmp_path) as (server, worker):
        release = threading.Event()
        server.cast.end(names.BLOBS)
        server.cast.play(names.BLOBS, {GetManifest: lambda _: release.wait(30) and BlobManifest(size=0, chunks=b"")})
        worker.cast.directory.ref(names.BLOBS).ask(FetchBlob(blob="0" * 64))
        eventually(lambda: server.cast.heard[names.BLOBS])
        for n in range(2, 20):
            worker.say(beat(n))
            server.answer(eventually(lambda n=n: [s for s in server.said("w1") if s.said.n == n])[0])
            eventually(lambda n=n: worker.syncs()[-1].n == n)
        release.set()


def test_the_server_forgets_what_no_stored_job_brought_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuyard.actors.blob_store.TIDY_SECONDS", 0.05)
    monkeypatch.setattr("gpuyard.actors.blobs.files.YOUNG_SECONDS", -1.0)
    wanted: list[str] = []
    with cast() as made:
        made.start(BlobStore, names.BLOBS, tmp_path / "server")
        for name in ("kept", "gone"):
            (tmp_path / name).write_text(name)
        wanted.append(stored(made, tmp_path / "kept").blob)
        gone = stored(made, tmp_path / "gone").blob
        made.play(names.HISTORY, {ListBlobs: lambda _: wanted})
        eventually(lambda: not (tmp_path / "server" / "blobs" / gone).exists())
        assert (tmp_path / "server" / "blobs" / wanted[0]).read_text() == "kept"
