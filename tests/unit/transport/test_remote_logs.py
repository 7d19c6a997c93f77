"""The log of a run on a worker is read there, over the bulk socket, as if it lay here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.log_reader import LONGEST_FROM_AFAR, LogReader
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ReadLog
from gpuyard.actors.model.errors import NotFound, Unavailable
from gpuyard.actors.model.views import LogChunk
from tests.hosts import ServerHost, WorkerHost, beat, server_host, worker_host
from tests.support import eventually

FENCE = 1 << 40 | 3


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[ServerHost, WorkerHost]]:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        for host, folder in ((server, "server"), (worker, "worker")):
            (tmp_path / folder / "runs" / str(FENCE)).mkdir(parents=True)
            (tmp_path / folder / "runs" / str(FENCE) / "log").write_text(f"log of the {folder}\n")
            host.cast.start(LogReader, names.LOGS, tmp_path / folder)
        worker.wait_up()
        worker.say(beat(1))
        server.answer(eventually(lambda: server.said("w1"))[0])
        eventually(lambda: server.stats(names.BULK).sessions)
        yield server, worker


def read(server: ServerHost, **fields: object) -> LogChunk:
    chunk = server.cast.directory.ref(names.LOGS).ask(ReadLog(**{"fence": FENCE, **fields})).result(20)
    assert isinstance(chunk, LogChunk)
    return chunk


def test_it_is_read_where_the_run_is(hosts: tuple[ServerHost, WorkerHost]) -> None:
    server, _ = hosts
    assert read(server).data == b"log of the server\n"
    assert read(server, host="w1").data == b"log of the worker\n"
    assert read(server, host="w1", offset=4, limit=2) == LogChunk(data=b"of", offset=4, end=6, size=18)


def test_a_long_one_comes_in_pieces_that_fit(hosts: tuple[ServerHost, WorkerHost], tmp_path: Path) -> None:
    server, _ = hosts
    data = bytes(range(256)) * 4_096
    (tmp_path / "worker" / "runs" / str(FENCE) / "log").write_bytes(data)
    found = b""
    while chunk := read(server, host="w1", offset=len(found), limit=1 << 20).data:
        assert len(chunk) <= LONGEST_FROM_AFAR
        found += chunk
    assert found == data


def test_one_that_is_gone_there_is_not_found(hosts: tuple[ServerHost, WorkerHost]) -> None:
    with pytest.raises(NotFound):
        read(hosts[0], fence=7, host="w1")


def test_while_its_worker_is_away_it_is_said_where_it_lies(hosts: tuple[ServerHost, WorkerHost]) -> None:
    server, worker = hosts
    worker.cast.end(names.BULK)
    with pytest.raises(Unavailable, match="lies on worker w2, which is not connected"):
        read(server, host="w2")
    server.cast.end(names.BULK)
    with pytest.raises(Unavailable, match="lies on worker w1"):
        read(server, host="w1")
