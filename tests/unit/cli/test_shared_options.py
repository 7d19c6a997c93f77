"""Options that many verbs have stand before or after the verb."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job


@pytest.fixture(autouse=True)
def _jobs(server: Recorder) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [job()], "total": 1}))


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "list", "--format", "json", "-l", "7", "--status", "running,queued", "-o", "job_id"],
        ["--format", "json", "-l", "7", "--status", "running,queued", "-o", "job_id", "jobs", "list"],
        ["jobs", "--format", "json", "-l", "7", "--status", "running", "--status", "queued", "-o", "job_id", "list"],
        ["-l", "7", "jobs", "--status", "running,queued", "list", "--format", "json", "-o", "job_id"],
        [
            "-l",
            "99",
            "--format",
            "csv",
            "jobs",
            "-l",
            "7",
            "list",
            "--format",
            "json",
            "--status=running,queued",
            "-ojob_id",
        ],
    ],
)
def test_before_and_after_are_the_same_and_the_nearest_wins(
    gpuyard: Gpuyard, server: Recorder, words: list[str]
) -> None:
    result = gpuyard(*words)
    assert json.loads(result.stdout) == [{"job_id": "aaaaaaaaaaaa"}]
    assert server.asked[0].query == {"status": "running,queued", "limit": "7", "offset": "0"}


def test_the_option_beats_the_environment(server: Recorder, gpuyard: Gpuyard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_SERVER", "http://127.0.0.1:1")
    assert gpuyard("--server", server.url, "jobs", "list").exit_code == 0
    assert gpuyard("jobs", "list", "--server", server.url).exit_code == 0
    assert gpuyard("jobs", "list").exit_code == 3


def test_a_verb_that_lacks_the_option_refuses_it(gpuyard: Gpuyard) -> None:
    result = gpuyard("--format", "json", "jobs", "logs", "aaaaaaaaaaaa")
    assert result.exit_code == 2
    assert "--format is not an option of `gpuyard jobs logs`" in result.stderr


def test_it_reaches_a_verb_below_a_verb(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/concurrency", Answer({"success": True, "max_concurrent": 9}))
    result = gpuyard("--format", "json", "queue", "limits", "set", "max_concurrent=9")
    assert json.loads(result.stdout)["max_concurrent"] == 9


def test_an_unknown_status_is_a_usage_error_that_names_the_known(gpuyard: Gpuyard, server: Recorder) -> None:
    result = gpuyard("jobs", "list", "--status", "runing")
    assert result.exit_code == 2
    assert "running" in result.stderr
    assert server.asked == []


def test_an_unknown_verb_names_a_similar_one(gpuyard: Gpuyard) -> None:
    result = gpuyard("jobs", "lst")
    assert result.exit_code == 2
    assert "list" in result.stderr
