"""The log stream of a real server: lines as they come, the end at once, and going on after a break."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.server import Server
from tests.support import eventually

pytestmark = pytest.mark.e2e

Frames = Iterator[dict[str, str]]


@contextmanager
def stream(server: Server, path: str, last_id: str = "") -> Iterator[Frames]:
    """The events of `path`, as they come."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Last-Event-ID": last_id} if last_id else {})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield _events(response)
    finally:
        connection.close()


def _events(response: http.client.HTTPResponse) -> Frames:
    fields: dict[str, str] = {}
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line:
            key, _, value = line.partition(": ")
            fields[key] = value
        else:
            if "data" in fields:
                yield fields
            fields = {}


def gate(folder: Path, name: str) -> str:
    """Shell that waits until the test makes this file."""
    return f"while [ ! -e {folder / name} ]; do sleep 0.02; done"


def test_lines_come_while_the_job_runs_and_the_end_comes_at_once(server: Server, tmp_path: Path) -> None:
    script = f"echo one; {gate(tmp_path, 'a')}; echo two; {gate(tmp_path, 'b')}; echo three; exit 4"
    job_id = server.submit("sh", "-c", script)["job_id"]
    with stream(server, f"/api/jobs/{job_id}/logs/stream") as events:
        assert next(events) == {"id": "4", "data": "one"}
        (tmp_path / "a").touch()
        assert next(events) == {"id": "8", "data": "two"}
        (tmp_path / "b").touch()
        assert next(events) == {"id": "14", "data": "three"}
        assert next(events) == {"event": "done", "data": "failed"}
        assert list(events) == []


def test_done_comes_with_the_end_and_not_with_some_poll(server: Server, tmp_path: Path) -> None:
    """Silent jobs: nothing but the event of the end can wake the stream. The contract's second, with room for load."""
    spans = []
    for number in range(3):
        job_id = server.submit("sh", "-c", gate(tmp_path, f"go-{number}"))["job_id"]
        server.wait_phase(job_id)
        with stream(server, f"/api/jobs/{job_id}/logs/stream") as events:
            (tmp_path / f"go-{number}").touch()
            start = time.monotonic()
            assert next(events) == {"event": "done", "data": "completed"}
            spans.append(time.monotonic() - start)
    assert min(spans) < 1.0


def test_a_broken_stream_goes_on_behind_the_last_line_across_a_restart(server: Server, tmp_path: Path) -> None:
    script = f"seq 1 5; {gate(tmp_path, 'a')}; seq 6 10"
    job_id = server.submit("sh", "-c", script)["job_id"]
    seen = []
    with stream(server, f"/api/jobs/{job_id}/logs/stream") as events:
        for _ in range(5):
            event = next(events)
            seen.append(event["data"])
    server.kill()
    server.start()
    (tmp_path / "a").touch()
    with stream(server, f"/api/jobs/{job_id}/logs/stream", event["id"]) as events:
        rest = list(events)
    assert [*seen, *(event["data"] for event in rest)] == [*map(str, range(1, 11)), "completed"]


def test_progress_bars_are_followed_without_a_newline(server: Server, tmp_path: Path) -> None:
    script = rf"printf '10%%\r20%%\r'; {gate(tmp_path, 'a')}; printf '90%%\r100%%\n'"
    job_id = server.submit("sh", "-c", script)["job_id"]
    with stream(server, f"/api/jobs/{job_id}/logs/stream") as events:
        assert next(events)["data"] == "10%"
        (tmp_path / "a").touch()
        rest = [event["data"] for event in events]
    assert rest[-2:] == ["100%", "completed"]
    assert "90%" not in rest


def test_many_may_follow_one_job(server: Server, tmp_path: Path) -> None:
    job_id = server.submit("sh", "-c", f"{gate(tmp_path, 'a')}; seq 1 1000")["job_id"]
    path = f"/api/jobs/{job_id}/logs/stream"
    with stream(server, path) as first, stream(server, path) as second, stream(server, f"{path}?tail=0") as third:
        (tmp_path / "a").touch()
        for events in (first, second, third):
            found = [event["data"] for event in events]
            assert found == [*map(str, range(1, 1001)), "completed"]


def test_followers_that_leave_are_forgotten(server: Server) -> None:
    """Every stream that is cut off gives its place back: many more than fit at once may come and go."""
    job_id = server.submit("sleep", "600")["job_id"]
    for _ in range(40):
        with stream(server, f"/api/jobs/{job_id}/logs/stream"):
            pass
    server.post(f"/api/jobs/{job_id}/cancel")
    assert server.wait(job_id)["status"] == "cancelled"

    def quiet() -> bool:
        with stream(server, f"/api/jobs/{job_id}/logs/stream") as events:
            return list(events) == [{"event": "done", "data": "cancelled"}]

    assert eventually(quiet)
