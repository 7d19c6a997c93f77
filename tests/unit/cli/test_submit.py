"""`jobs submit`: the body it sends, what it prints, how it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gpuyard.cli.submission import moment
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job

ACCEPTED = {"success": True, "job_id": "aaaaaaaaaaaa", "status": "running", "allocated_gpus": [0, 1], "reasons": []}
WAITS = {
    "code": "GpusBusy",
    "text": "GPUs 0,1 are busy.",
    "detail": {},
    "blocking_jobs": ["bbbbbbbbbbbb"],
    "unblock": "gpuyard jobs cancel bbbbbbbbbbbb && gpuyard queue process",
    "never": False,
}
QUEUED = {
    **ACCEPTED,
    "status": "queued",
    "allocated_gpus": None,
    "queue_position": 3,
    "reason": WAITS["text"],
    "reasons": [WAITS],
}
REFUSED = {
    "success": False,
    "job_id": None,
    "status": "rejected",
    "error": "no_capacity",
    "reason": "GPUs 0,1 are busy.",
}


def submitted(server: Recorder) -> dict[str, Any]:
    (asked,) = server.of("POST", "/api/queue/submit")
    assert isinstance(asked.body, dict)
    return asked.body


@pytest.fixture(autouse=True)
def _accepts(server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer(ACCEPTED))


def test_a_config_sends_only_what_was_given(gpuyard: Gpuyard, server: Recorder) -> None:
    result = gpuyard("jobs", "submit", "my-config")
    assert submitted(server) == {"config_name": "my-config"}
    assert result.stdout == "aaaaaaaaaaaa running on GPUs 0,1\n"
    assert result.exit_code == 0


def test_every_flag_arrives(gpuyard: Gpuyard, server: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    words = """--no-wait --any-gpu --target worker --provider p --worker-label gpu=a100* --worker-label zone=us-*
    --gpus 0 --device-ids 0,2 --name n --priority high --team t --env A=1 --env B=x=y --env FROM_HERE --time-limit 1h30m
    --not-before 2026-11-22T02:05:00Z --max-attempts 5 --retry-on oom,exit:1 --cost 0 --metadata run=7 --for-approval
    --requires-approval"""
    assert gpuyard("jobs", "submit", "c", *words.split()).exit_code == 0
    assert submitted(server) == {
        "config_name": "c",
        "no_wait": True,
        "any_gpu": True,
        "target": "worker",
        "provider": "p",
        "worker_labels": {"gpu": "a100*", "zone": "us-*"},
        "num_processes": 0,
        "device_ids": [0, 2],
        "name": "n",
        "priority_override": 20,
        "team_id": "t",
        "env": {"A": "1", "B": "x=y", "FROM_HERE": "here"},
        "time_limit": 5400.0,
        "not_before": "2026-11-22T02:05:00Z",
        "max_attempts": 5,
        "retry_on": ["oom", "exit:1"],
        "estimated_cost": 0.0,
        "metadata": {"run": "7"},
        "for_approval": True,
        "requires_approval": True,
    }


def test_a_command_is_a_list_of_words_in_the_current_folder(
    gpuyard: Gpuyard, server: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gpuyard("jobs", "submit", "--gpus", "2", "--", "python", "train.py", "--no-wait", "--", "a b; rm -rf $HOME")
    assert submitted(server) == {
        "command": ["python", "train.py", "--no-wait", "--", "a b; rm -rf $HOME"],
        "workdir": str(tmp_path),
        "num_processes": 2,
    }


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--",
        "config -- cmd",
        "a b",
        "c --env NOT_SET_ANYWHERE",
        "c --gpus -1",
        "c --device-ids x",
        "c --time-limit soon",
        "c --not-before soon",
        "c --priority 51",
        "c --worker-label x",
        "c --target moon",
        "c --follow --format json",
        "c -n --wait",
        "c --metadata =1",
    ],
)
def test_a_slip_of_the_pen_is_a_usage_error_and_sends_nothing(gpuyard: Gpuyard, server: Recorder, words: str) -> None:
    result = gpuyard("jobs", "submit", *words.split())
    assert result.exit_code == 2, result.output
    assert server.asked == []


def test_json_is_the_answer_of_submit(gpuyard: Gpuyard) -> None:
    assert json.loads(gpuyard("jobs", "submit", "c", "--format", "json").stdout) == ACCEPTED
    assert gpuyard("jobs", "submit", "c", "-o", "job_id").stdout == "aaaaaaaaaaaa\n"


def test_a_job_that_waits_says_why_and_what_would_help(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer(QUEUED))
    result = gpuyard("jobs", "submit", "c")
    assert result.stdout == "aaaaaaaaaaaa queued, number 3: GPUs 0,1 are busy.\n"
    assert "gpuyard jobs cancel bbbbbbbbbbbb && gpuyard queue process" in result.stderr
    assert result.exit_code == 0


def test_no_capacity_has_its_own_exit_code(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer(REFUSED))
    result = gpuyard("jobs", "submit", "c", "--no-wait")
    assert result.exit_code == 7
    assert "GPUs 0,1 are busy." in result.stderr
    assert result.stdout == ""


def test_another_refusal_is_exit_code_1_and_json_shows_the_answer(gpuyard: Gpuyard, server: Recorder) -> None:
    answer = {**REFUSED, "error": "unknown_config", "reason": "There is no config c."}
    server.on("POST", "/api/queue/submit", Answer(answer))
    result = gpuyard("jobs", "submit", "c", "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == answer
    assert "There is no config c." in result.stderr


@pytest.mark.parametrize("answer", [ACCEPTED, QUEUED, REFUSED])
def test_a_dry_run_is_exit_code_0_whatever_it_predicts(
    gpuyard: Gpuyard, server: Recorder, answer: dict[str, Any]
) -> None:
    server.on("POST", "/api/queue/submit", Answer({**answer, "job_id": None}))
    result = gpuyard("jobs", "submit", "c", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("would be ")
    assert submitted(server)["dry_run"] is True


def test_a_broken_connection_does_not_submit_twice(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer(break_off=True), Answer(ACCEPTED))
    assert gpuyard("jobs", "submit", "c").exit_code == 0
    first, second = server.of("POST", "/api/queue/submit")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert len(first.headers["idempotency-key"]) >= 16


def test_an_idempotency_key_of_ones_own(gpuyard: Gpuyard, server: Recorder) -> None:
    gpuyard("jobs", "submit", "c", "--idempotency-key", "nightly-7")
    assert server.asked[0].headers["idempotency-key"] == "nightly-7"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"status": "completed", "exit_code": 0}, 0),
        ({"status": "failed", "exit_code": 1, "exit_class": "exit:1"}, 100),
        ({"status": "failed", "exit_code": 143, "exit_class": "timeout"}, 101),
        ({"status": "cancelled", "exit_class": "cancelled"}, 103),
    ],
)
@pytest.mark.parametrize("flag", ["--wait", "--follow"])
def test_watching_ends_with_the_code_for_how_it_ended(
    gpuyard: Gpuyard, server: Recorder, flag: str, end: dict[str, Any], code: int
) -> None:
    running = job(status="running", attempts=[{"number": 1}], position=None)
    server.on("GET", "/api/jobs/aaaaaaaaaaaa", Answer({"job": running}), Answer({"job": {**running, **end}}))
    text = f"id: 6\ndata: hello\n\nevent: done\ndata: {end['status']}\n\n"
    stream = Answer(raw=text.encode(), headers={"Content-Type": "text/event-stream"})
    server.on("GET", "/api/jobs/aaaaaaaaaaaa/logs/stream", stream)
    result = gpuyard("jobs", "submit", "c", flag)
    assert result.exit_code == code
    assert ("hello" in result.stdout) == (flag == "--follow")
    assert str(end["status"]) in result.stderr


def test_while_it_waits_each_new_reason_is_told_once(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer(QUEUED))
    waiting = Answer({"job": job(reasons=[WAITS], position=3)})
    other = Answer({"job": job(reasons=[{**WAITS, "code": "Priority", "text": "A more urgent job is first."}])})
    done = Answer({"job": job(status="completed", exit_code=0)})
    server.on("GET", "/api/jobs/aaaaaaaaaaaa", waiting, waiting, waiting, other, other, done)
    result = gpuyard("jobs", "submit", "c", "--wait")
    assert result.stderr.count("waits: #3 GPUs 0,1 are busy.") == 1
    assert result.stderr.count("A more urgent job is first.") == 1


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = 1_795_313_100.0  # 2026-11-22 03:05:00 in Berlin
        assert moment("+2h", now) == "2026-11-22T04:05:00Z"
        assert moment("22:00", now) == "2026-11-22T21:00:00Z"
        assert moment("03:05", now) == "2026-11-23T02:05:00Z", "a time of day that has passed is tomorrow's"
        assert moment("2026-11-23 08:00", now) == "2026-11-23T07:00:00Z"
        assert moment("2026-11-23T08:00:00+09:00", now) == "2026-11-22T23:00:00Z"
        for text in ("", "soon", "25:00", "+", "+soon", "2026-13-01"):
            with pytest.raises(ValueError):
                moment(text, now)
    finally:
        monkeypatch.undo()
        time.tzset()
