"""`gpuyard queue pause` and `resume`, and the window of a submit."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job

A = "aaaaaaaaaaaa"


@pytest.mark.parametrize(("words", "body"), [([], None), (["local", "cloud"], {"targets": ["local", "cloud"]})])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_it_names_the_targets_or_means_all(
    gpuyard: Gpuyard, server: Recorder, verb: str, words: list[str], body: object
) -> None:
    answer = {"success": True, "paused": ["local"], "dispatched": 1, "job_ids": [A]}
    server.on("POST", f"/api/queue/{verb}", Answer(answer))
    result = gpuyard("queue", verb, *words)
    assert (result.exit_code, result.stdout) == (0, f"{A}\n")
    assert "paused: local" in result.stderr
    assert server.asked[0].body == body
    assert gpuyard("queue", verb, "moon").exit_code == 2


def test_the_status_says_what_is_paused(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/queue/stats", Answer({"by_status": {}, "local": {}, "paused": ["cloud", "local"]}))
    text = gpuyard("queue", "status").stdout
    assert "cloud, local (gpuyard queue resume)" in text


def test_a_submit_may_name_its_hours(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer({"success": True, "job_id": A, "status": "queued", "reasons": []}))
    assert gpuyard("jobs", "submit", "tiny", "--window", "22:00-07:00 Europe/Berlin").exit_code == 0
    assert server.asked[0].body == {"config_name": "tiny", "window": "22:00-07:00 Europe/Berlin"}
    server.on("GET", f"/api/jobs/{A}", Answer({"job": job(A, window="22:00-07:00 Europe/Berlin")}))
    assert "22:00-07:00 Europe/Berlin" in gpuyard("jobs", "get", A).stdout
