"""Paging back through a long log: pieces in front of a byte, whole lines, down to the first."""

from __future__ import annotations

from tests.unit.api_routes.conftest import Yard


def test_pieces_before_a_byte_join_to_the_whole_log(yard: Yard) -> None:
    job_id = yard.submit("seq", "-f", "line %05g", "1", "20000", num_processes=0)["job_id"]
    yard.wait(job_id)
    last = yard.get(f"/api/jobs/{job_id}/logs")
    text, offset = last["logs"], last["offset"]
    while offset > 0:
        piece = yard.get(f"/api/jobs/{job_id}/logs?before={offset}")
        assert piece["offset"] < offset and piece["size"] == last["size"]
        text, offset = piece["logs"] + text, piece["offset"]
    assert text.splitlines() == [f"line {number:05d}" for number in range(1, 20_001)]
    assert yard.get(f"/api/jobs/{job_id}/logs?before=0")["logs"] == ""
