"""GET /api/usage: GPU-hours of real runs, who sees whose, and that they stay when jobs do not."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from gpuyard.actors.model.clock import epoch
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard


def run(yard: Yard, by: str, gpus: int, seconds: str = "0.05") -> dict[str, Any]:
    job_id = yard.submit("sleep", seconds, by=by, num_processes=gpus)["job_id"]
    return yard.wait(job_id)


def gpu_seconds(jobs: list[dict[str, Any]]) -> float:
    """What these jobs used, from their attempts."""
    return sum(
        round((epoch(attempt["ended_at"]) - epoch(attempt["started_at"])) * 1000) / 1000 * job["num_processes"]
        for job in jobs
        for attempt in job["attempts"]
    )


def by_key(report: dict[str, Any], key: str) -> dict[Any, float]:
    return {line[key]: line["gpu_seconds"] for line in report["lines"]}


def test_the_sums_are_those_of_the_attempts_and_stay_when_jobs_are_deleted(yard: Yard) -> None:
    ann = [run(yard, "ann", 1), run(yard, "ann", 2), run(yard, "ann", 0)]
    bob = [run(yard, "bob", 3)]
    report = yard.get("/api/usage?by=user")
    wanted = {3: pytest.approx(gpu_seconds(ann)), 4: pytest.approx(gpu_seconds(bob))}
    assert by_key(report, "user_id") == wanted
    assert (report["runs"], [line["period"] for line in report["lines"]]) == (4, ["total", "total"])
    for job in (*ann, *bob):
        assert yard.ask("DELETE", f"/api/jobs/{job['job_id']}").status_code == 200
    assert by_key(yard.get("/api/usage?by=user"), "user_id") == wanted
    assert by_key(yard.get("/api/usage?by=team"), "team_id") == {
        "red": pytest.approx(gpu_seconds(ann)),
        "blue": pytest.approx(gpu_seconds(bob)),
    }
    [line] = yard.get("/api/usage?by=,&period=day")["lines"]
    assert line["period"] == datetime.now(UTC).strftime("%Y-%m-%d") and line["user_id"] is None
    assert yard.get("/api/usage?by=place,user&user_id=3")["lines"][0]["place"] == "local"
    assert yard.get("/api/usage?team_id=blue")["runs"] == 1
    assert yard.get("/api/usage?from=2020-01-01&to=2020-12-31")["lines"] == []


def test_a_run_that_lives_counts_up_to_now(yard: Yard) -> None:
    job_id = yard.submit("sleep", "600", by="ann", num_processes=2)["job_id"]
    yard.running(job_id)
    [line] = yard.get("/api/usage")["lines"]
    assert (line["runs"], line["running"]) == (0, 1)
    more = eventually(lambda: now if (now := yard.get("/api/usage")["lines"][0])["gpu_seconds"] > 0.2 else {})
    assert more["gpu_seconds"] > line["gpu_seconds"]
    yard.post(f"/api/jobs/{job_id}/cancel", by="ann")
    job = yard.wait(job_id)
    [line] = yard.get("/api/usage")["lines"]
    assert (line["runs"], line["running"]) == (1, 0)
    assert line["gpu_seconds"] == pytest.approx(gpu_seconds([job]))


def test_a_table_for_spreadsheets_has_the_same_lines(yard: Yard) -> None:
    run(yard, "ann", 2)
    [line] = yard.get("/api/usage?by=user,team,place")["lines"]
    answer = yard.ask("GET", "/api/usage?by=user,team,place&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert list(row) == list(line) and {name: value or None for name, value in row.items()} == {
        name: None if value is None else str(value) for name, value in line.items()
    }


def test_people_see_their_own_usage_and_leads_everybodys(yard: Yard) -> None:
    run(yard, "ann", 1)
    run(yard, "bob", 1)
    assert set(by_key(yard.get("/api/usage", by="ann"), "user_id")) == {3}
    assert set(by_key(yard.get("/api/usage?by=team", by="ann"), "team_id")) == {"red"}
    assert yard.ask("GET", "/api/usage?user_id=4", by="ann").status_code == 403
    assert set(by_key(yard.get("/api/usage", by="lead"), "user_id")) == {3, 4}
    assert yard.get("/api/usage", by="eve")["lines"] == []


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "to=2026-13-01", "from=2026-02-02&to=2026-02-01", "period=year", "by=job", "user_id=-1"],
)
def test_a_wrong_question_is_422(calm: Yard, query: str) -> None:
    assert calm.ask("GET", f"/api/usage?{query}").status_code == 422
