"""Logs: the tail of one attempt, and the stream that ends with the job."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.unit.api_routes.conftest import Yard


def events(text: str) -> list[dict[str, str]]:
    """The events of a stream; lines of `data` joined by newlines."""
    found = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            key, _, value = line.partition(": ")
            if key in ("data", "event", "id"):
                fields[key] = f"{fields[key]}\n{value}" if key in fields else value
        if "data" in fields:
            found.append(fields)
    return found


def stream(yard: Yard, job_id: str, query: str = "", **headers: str) -> list[dict[str, str]]:
    response = yard.ask("GET", f"/api/jobs/{job_id}/logs/stream{query}", **headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events(response.text)


def texts(found: list[dict[str, str]]) -> list[str]:
    return [event["data"] for event in found if "event" not in event]


def ended(yard: Yard, script: str, **more: Any) -> str:
    job_id: str = yard.submit("sh", "-c", script, **more)["job_id"]
    yard.wait(job_id)
    return job_id


def test_the_tail_of_a_log(yard: Yard) -> None:
    job_id = ended(yard, "seq 1 20000; printf last")
    size = sum(len(str(n)) + 1 for n in range(1, 20_001)) + 4
    whole = yard.get(f"/api/jobs/{job_id}/logs")
    assert (whole["job_id"], whole["attempt"], whole["size"]) == (job_id, 1, size)
    assert len(whole["logs"]) == 65_536
    assert whole["offset"] == size - 65_536
    assert yard.get(f"/api/jobs/{job_id}/logs?tail=3")["logs"] == "19999\n20000\nlast"
    many = yard.get(f"/api/jobs/{job_id}/logs?tail=15001")
    assert many["logs"].splitlines()[0] == "5001"
    assert many["offset"] + len(many["logs"]) == size
    assert yard.get(f"/api/jobs/{job_id}/logs?tail=0")["logs"] == ""
    assert len(yard.get(f"/api/jobs/{job_id}/logs?tail=1000000")["logs"]) == size


def test_bytes_that_are_no_text_are_replaced(yard: Yard) -> None:
    job_id = ended(yard, r"printf 'a\377b\n'")
    assert yard.get(f"/api/jobs/{job_id}/logs")["logs"] == "a\ufffdb\n"
    assert texts(stream(yard, job_id)) == ["a\ufffdb"]


def test_a_job_that_has_not_started_has_an_empty_log(yard: Yard) -> None:
    job_id = yard.submit("true", not_before="2999-01-01T00:00:00Z")["job_id"]
    assert yard.get(f"/api/jobs/{job_id}/logs") == {
        "job_id": job_id,
        "logs": "",
        "attempt": None,
        "offset": 0,
        "size": 0,
    }
    assert yard.ask("GET", f"/api/jobs/{job_id}/logs?attempt=1").status_code == 404


def test_each_attempt_has_its_log_and_the_stream_has_them_all(yard: Yard) -> None:
    script = 'echo "try $GPUYARD_ATTEMPT"; printf "end $GPUYARD_ATTEMPT"; [ $GPUYARD_ATTEMPT = 2 ] || exit 85'
    job_id = ended(yard, script)
    assert yard.job(job_id)["status"] == "completed"
    assert yard.get(f"/api/jobs/{job_id}/logs")["logs"] == "try 2\nend 2"
    assert yard.get(f"/api/jobs/{job_id}/logs?attempt=1")["logs"] == "try 1\nend 1"
    assert yard.ask("GET", f"/api/jobs/{job_id}/logs?attempt=3").status_code == 404
    assert yard.ask("GET", f"/api/jobs/{job_id}/logs/stream?attempt=3").status_code == 404
    found = stream(yard, job_id)
    assert texts(found) == ["try 1", "end 1", "try 2", "end 2"]
    assert [event["id"] for event in found[:-1]] == ["6", "11", "17", "22"]
    assert found[-1] == {"event": "done", "data": "completed"}
    assert texts(stream(yard, job_id, "?attempt=1")) == ["try 1", "end 1"]
    for after, rest in (("6", ["end 1", "try 2", "end 2"]), ("11", ["try 2", "end 2"]), ("17", ["end 2"]), ("22", [])):
        assert texts(stream(yard, job_id, Last_Event_ID=after)) == rest
        assert texts(stream(yard, job_id, f"?offset={after}")) == rest
        assert texts(stream(yard, job_id, "?offset=0", Last_Event_ID=after)) == rest
    assert texts(stream(yard, job_id, "?attempt=2&offset=6")) == ["end 2"]
    assert texts(stream(yard, job_id, Last_Event_ID="999999")) == []
    assert texts(stream(yard, job_id, "?tail=1")) == ["end 2"]
    assert texts(stream(yard, job_id, "?tail=0")) == []


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "٣"])
def test_a_malformed_last_event_id_is_422(yard: Yard, last: str) -> None:
    job_id = ended(yard, "true")
    headers = {"Last-Event-ID": last.encode()}
    assert yard.client.get(f"/api/jobs/{job_id}/logs/stream", headers=headers).status_code in (400, 422)


def test_a_stream_follows_from_before_the_start_to_the_end(yard: Yard) -> None:
    first = yard.submit("sleep", "600", num_processes=4)["job_id"]
    job_id = yard.submit("sh", "-c", r"printf '10%%\r50%%\r100%%\n'; echo done; exit 3")["job_id"]
    found: list[dict[str, str]] = []
    follower = threading.Thread(target=lambda: found.extend(stream(yard, job_id)))
    follower.start()
    assert yard.job(job_id)["status"] == "pending"
    yard.post(f"/api/jobs/{first}/cancel")
    yard.wait(first)
    yard.post("/api/queue/process")
    follower.join(timeout=30)
    assert not follower.is_alive()
    assert texts(found)[-2:] == ["100%", "done"]
    assert found[-1] == {"event": "done", "data": "failed"}


def test_a_job_that_is_cancelled_before_it_starts_ends_its_stream(yard: Yard) -> None:
    job_id = yard.submit("true", not_before="2999-01-01T00:00:00Z")["job_id"]
    found: list[dict[str, str]] = []
    follower = threading.Thread(target=lambda: found.extend(stream(yard, job_id)))
    follower.start()
    yard.post(f"/api/jobs/{job_id}/cancel")
    follower.join(timeout=30)
    assert found == [{"event": "done", "data": "cancelled"}]


def test_an_endless_line_comes_in_parts(yard: Yard) -> None:
    job_id = ended(yard, "head -c 200000 /dev/zero | tr '\\0' x")
    parts = texts(stream(yard, job_id))
    assert "".join(parts) == "x" * 200_000
    assert max(map(len, parts)) <= 65_536
