"""Each of the small verbs: what it asks the server, what it prints, how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Asked, Recorder, job

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
STATS = {
    "queue_depth": 0,
    "running": 0,
    "total_pending": 1,
    "total_running": 2,
    "by_status": {"pending": 1, "running": 2, "completed": 7},
    "by_user": {"1": 3},
    "avg_wait_seconds": 45.2,
    "processing_held": False,
    "store_error": None,
    "local": {
        "running_jobs": 1,
        "pending_jobs": 1,
        "cpu_running_jobs": 1,
        "allocated_gpus": [0, 1],
        "available_gpus": [2, 3],
        "total_gpus": 4,
        "max_concurrent_gpus": None,
        "max_concurrent_jobs": 1,
    },
    "workers": {"total_workers": 0},
    "pending_by_reason": {"GpusBusy": 1},
    "max_concurrent": 5,
}
SYSTEM = {
    "timestamp": 1_795_313_100.0,
    "load_avg_5min": 0.5,
    "memory_percent": 45.2,
    "uptime_seconds": 11_220.0,
    "gpus": [],
    "gpu_inventory": {"backend": "simulated", "count": 2, "capabilities": {}, "error": None},
    "gpu_allocation": {
        "devices": [
            {"index": 0, "name": "A100", "memory_gb": 40, "allocated": True, "job_id": A, "state": "held"}
            | {"memory_used_gb": 12.25, "utilization": 93, "temperature_c": 61, "power_w": 250.4, "reason": None},
            {"index": 1, "name": "A100", "memory_gb": 40, "allocated": False, "job_id": None, "state": "busy_external"}
            | {"memory_used_gb": 1.0, "utilization": None, "temperature_c": None, "power_w": None}
            | {"reason": "process 4711 (python) uses 1.0 GB"},
        ]
    },
}
REASON = {
    "code": "GpusBusy",
    "text": "It needs 2 GPUs; 1 is free.",
    "blocking_jobs": [B],
    "unblock": f"gpuyard jobs cancel {B} && gpuyard queue process",
    "never": False,
}


def only(server: Recorder, method: str, path: str) -> Asked:
    (asked,) = server.of(method, path)
    return asked


def test_list_shows_what_one_needs_to_know(gpuyard: Gpuyard, server: Recorder) -> None:
    rows = [
        job(A, status="running", phase="running", allocated_gpus=[0, 1], started_at="2026-11-22T02:05:01Z"),
        job(B, reasons=[REASON], position=2, num_processes=2),
        job("cccccccccccc", status="failed", error_message="CUDA out of memory", num_processes=0),
        job("dddddddddddd", status="running", phase="stopping"),
        job("eeeeeeeeeeee", held=True),
    ]
    server.on("GET", "/api/jobs", Answer({"jobs": rows, "total": 5}))
    lines = gpuyard("jobs", "list").stdout.splitlines()
    assert lines[0].split() == ["JOB", "NAME", "STATUS", "GPUS", "PRIO", "QUEUED", "TIME", "NOTE"]
    assert "● running" in lines[1] and "0,1" in lines[1]
    assert "○ pending" in lines[2] and "×2" in lines[2] and "#2 It needs 2 GPUs; 1 is free." in lines[2]
    assert "✗ failed" in lines[3] and "cpu" in lines[3] and "CUDA out of memory" in lines[3]
    assert "● stopping" in lines[4]
    assert "○ held" in lines[5]


def test_list_asks_page_by_page(gpuyard: Gpuyard, server: Recorder) -> None:
    rows = [job(f"{n:012d}") for n in range(700)]

    def page(asked: Asked) -> Answer:
        at = int(asked.query["offset"])
        return Answer({"jobs": rows[at : at + int(asked.query["limit"])], "total": 700})

    server.on("GET", "/api/jobs", page)
    assert len(json.loads(gpuyard("jobs", "list", "-l", "600", "--format", "json").stdout)) == 600
    assert [asked.query["limit"] for asked in server.asked] == ["500", "100"]


def test_get_takes_a_prefix(gpuyard: Gpuyard, server: Recorder) -> None:
    attempt = {"fence": 1, "number": 1, "phase": "exited", "host": "local", "gpus": [0], "exit_class": "exit:1"}
    found = job(A, status="failed", command=["python", "a b.py"], exit_code=1, attempts=[attempt], metadata={"lr": 1})
    server.on("GET", "/api/jobs/aaaa", Answer({"job": found}))
    text = gpuyard("jobs", "get", "aaaa").stdout
    assert A in text and "python 'a b.py'" in text and "metadata.lr" in text and "exit:1" in text
    assert gpuyard("jobs", "get", "aaaa", "-o", "attempts.0.gpus").stdout == "0\n"
    assert json.loads(gpuyard("jobs", "get", "aaaa", "--format", "json").stdout) == found


@pytest.mark.parametrize("prefix", ["../../etc/passwd", "a/b", "", "a b", "%2e%2e"])
def test_what_is_no_id_is_not_asked_for(gpuyard: Gpuyard, server: Recorder, prefix: str) -> None:
    assert gpuyard("jobs", "get", prefix).exit_code == 5
    assert server.asked == []


def test_an_unknown_job_is_exit_code_5(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"/api/jobs/{A}", Answer({"detail": "there is no job aaaaaaaaaaaa", "code": "not_found"}, 404))
    result = gpuyard("jobs", "get", A)
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "there is no job" in result.stderr


@pytest.mark.parametrize("verb", [["jobs", "status"], ["queue", "status"]])
def test_status_as_json_is_exactly_the_stats_object(gpuyard: Gpuyard, server: Recorder, verb: list[str]) -> None:
    server.on("GET", "/api/queue/stats", Answer(STATS))
    assert json.loads(gpuyard(*verb, "--format", "json").stdout) == STATS
    text = gpuyard(*verb).stdout
    assert "2 of 4 free (2,3)" in text and "1 GpusBusy" in text and "45s" in text


def test_status_says_when_processing_is_held(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/queue/stats", Answer({**STATS, "processing_held": True}))
    assert "gpuyard queue process" in gpuyard("jobs", "status").stderr


def test_status_says_when_it_shows_the_last_durable_state(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/queue/stats", Answer({**STATS, "store_error": "the disk of the database is full"}))
    assert "disk of the database is full" in gpuyard("jobs", "status").stderr


def test_why_prints_reasons_and_what_would_unblock(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"/api/jobs/{A}", Answer({"job": job(A)}))
    answer = {"job_id": A, "position": 2, "status": "pending", "reasons": [REASON], "estimated_wait_seconds": 90.0}
    server.on(
        "GET",
        f"/api/queue/position/{A}",
        Answer({**answer, "estimated_wait_low": 60.0, "estimated_wait_high": 3600.0}),
    )
    text = gpuyard("jobs", "why", A).stdout
    assert text.splitlines() == [
        f"{A} is pending, number 2 in the queue",
        "  GpusBusy: It needs 2 GPUs; 1 is free.",
        f"    held by: {B}",
        f"    to start it: gpuyard jobs cancel {B} && gpuyard queue process",
        "  about 1m30s to go (between 1m00s and 1h00m)",
    ]
    assert gpuyard("queue", "position", A).stdout == f"{A} number 2, about 1m30s to go (between 1m00s and 1h00m)\n"


def test_why_of_an_ended_job_is_its_error(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"/api/jobs/{A}", Answer({"job": job(A, status="failed", error_message="CUDA out of memory")}))
    assert gpuyard("jobs", "why", A).stdout == f"{A} is failed: CUDA out of memory\n"


def test_logs_are_printed_as_they_are_into_a_pipe(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"/api/jobs/{A}/logs", Answer({"job_id": A, "logs": "one\x1b[31m\r10%\ntwo"}))
    result = gpuyard("jobs", "logs", A, "--tail", "2", "--attempt", "1")
    assert result.stdout == "one\x1b[31m\r10%\ntwo"
    assert only(server, "GET", f"/api/jobs/{A}/logs").query == {"tail": "2", "attempt": "1"}


def test_following_a_log_ends_with_the_job(gpuyard: Gpuyard, server: Recorder) -> None:
    text = "id: 4\ndata: one\n\nid: 8\ndata: two\n\nevent: done\ndata: failed\n\n"
    stream = Answer(raw=text.encode(), headers={"Content-Type": "text/event-stream"})
    server.on("GET", f"/api/jobs/{A}/logs/stream", stream)
    server.on("GET", f"/api/jobs/{A}", Answer({"job": job(A, status="failed", exit_code=3)}))
    result = gpuyard("jobs", "logs", "-f", A)
    assert result.stdout == "one\ntwo\n"
    assert "failed: exit code 3" in result.stderr
    assert result.exit_code == 0


def test_events_tell_the_story(gpuyard: Gpuyard, server: Recorder) -> None:
    rows = [{"id": 1, "at": "2026-11-22T02:05:00Z", "kind": "job_submitted", "by": "owner", "data": {"gpus": [0]}}]
    server.on("GET", f"/api/jobs/{A}/events", Answer({"job_id": A, "events": rows}))
    text = gpuyard("jobs", "events", A).stdout
    assert "job_submitted" in text and "owner" in text and "gpus=0" in text
    assert json.loads(gpuyard("jobs", "events", A, "--format", "json").stdout) == rows


@pytest.mark.parametrize(
    ("ends", "code"), [(["completed", "completed"], 0), (["completed", "failed"], 100), (["cancelled", "failed"], 103)]
)
def test_waiting_for_several(gpuyard: Gpuyard, server: Recorder, ends: list[str], code: int) -> None:
    for job_id, end in zip((A, B), ends, strict=True):
        server.on("GET", f"/api/jobs/{job_id}", Answer({"job": job(job_id)}), Answer({"job": job(job_id, status=end)}))
    assert gpuyard("jobs", "wait", A, B).exit_code == code


def test_waiting_no_longer_than_asked(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"/api/jobs/{A}", Answer({"job": job(A)}))
    assert gpuyard("jobs", "wait", A, "--timeout", "0.1").exit_code == 101


def test_cancelling_one(gpuyard: Gpuyard, server: Recorder) -> None:
    answer = {"success": True, "job_id": A, "status": "running", "phase": "stopping", "processing_held": True}
    server.on("POST", f"/api/jobs/{A}/cancel", Answer(answer))
    result = gpuyard("jobs", "cancel", A)
    assert result.stdout == f"{A} is being stopped\n"
    assert "gpuyard queue process" in result.stderr


def test_cancelling_several_is_one_request(gpuyard: Gpuyard, server: Recorder) -> None:
    answer = {"success": True, "cancelled": [A, B], "failed": [], "still_pending": 3, "processing_held": False}
    server.on("POST", "/api/jobs/cancel", Answer(answer))
    result = gpuyard("jobs", "cancel", A, B, A)
    assert only(server, "POST", "/api/jobs/cancel").body == {"job_ids": [A, B]}
    assert result.stdout == f"{A}\n{B}\n"
    assert "2 jobs cancelled or being stopped; 3 jobs still waiting" in result.stderr
    assert "queue process" not in result.stderr


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["--all"], {"all": True, "all_users": False}),
        (["--all", "--all-users"], {"all": True, "all_users": True}),
        (["--status", "queued,blocked"], {"status": ["queued", "blocked"]}),
    ],
)
def test_bulk_cancel_asks_and_without_a_terminal_refuses(
    gpuyard: Gpuyard, server: Recorder, words: list[str], body: dict[str, Any]
) -> None:
    answer = {"success": True, "cancelled": [A], "failed": [], "still_pending": 0, "processing_held": True}
    server.on("POST", "/api/jobs/cancel", Answer(answer))
    refused = gpuyard("jobs", "cancel", *words)
    assert refused.exit_code == 2
    assert "-y" in refused.stderr and "not a terminal" in refused.stderr
    assert server.asked == []
    for yes in ("-y", "--yes", "--force"):
        assert gpuyard("jobs", "cancel", *words, yes).exit_code == 0
    assert [asked.body for asked in server.asked] == [body] * 3


def test_a_job_that_could_not_be_cancelled_is_exit_code_6(gpuyard: Gpuyard, server: Recorder) -> None:
    failed = [{"job_id": B, "detail": "it has ended"}]
    server.on("POST", "/api/jobs/cancel", Answer({"cancelled": [A], "failed": failed, "still_pending": 0}))
    result = gpuyard("jobs", "cancel", A, B)
    assert result.exit_code == 6
    assert "it has ended" in result.stderr


@pytest.mark.parametrize("words", [[], ["--all", A], ["--status", "running", "--all"], ["--all-users", A]])
def test_cancel_wants_one_kind_of_choice(gpuyard: Gpuyard, server: Recorder, words: list[str]) -> None:
    assert gpuyard("jobs", "cancel", *words, "-y").exit_code == 2
    assert server.asked == []


def test_a_dry_run_of_cancel_cancels_nothing(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [job(A), job(B)], "total": 2}))
    result = gpuyard("jobs", "cancel", "--all", "-n")
    assert result.stdout == f"{A}\n{B}\n"
    assert {asked.method for asked in server.asked} == {"GET"}


@pytest.mark.parametrize(
    ("words", "path", "body", "query"),
    [
        (["jobs", "hold", A], f"/api/queue/{A}/hold", None, {}),
        (["jobs", "release", A], f"/api/queue/{A}/release", None, {}),
        (["jobs", "priority", A, "35"], f"/api/queue/{A}/priority", {"priority": 35}, {}),
        (["jobs", "priority", A, "low"], f"/api/queue/{A}/priority", {"priority": 0}, {}),
        (["jobs", "priority", A, "none"], f"/api/queue/{A}/priority", {"priority": None}, {}),
        (["jobs", "approval", A, "approve"], f"/api/queue/{A}/approve", None, {}),
        (
            ["jobs", "approval", A, "reject", "--reason", "too big"],
            f"/api/queue/{A}/reject",
            None,
            {"reason": "too big"},
        ),
        (["jobs", "retry", A], f"/api/jobs/{A}/retry", None, {}),
        (["queue", "process"], "/api/queue/process", None, {}),
        (["queue", "cleanup", "--days", "7", "-y"], "/api/queue/cleanup", None, {"days": "7"}),
        (
            [
                "queue",
                "limits",
                "set",
                "max-concurrent=9",
                "local_gpu_max_concurrent=none",
                "enable_fair_share=on",
                "reserve_after_seconds=0.5",
            ],
            "/api/queue/concurrency",
            {
                "max_concurrent": 9,
                "local_gpu_max_concurrent": None,
                "enable_fair_share": True,
                "reserve_after_seconds": 0.5,
            },
            {},
        ),
    ],
)
def test_what_changes_something_asks_for_exactly_that(
    gpuyard: Gpuyard, server: Recorder, words: list[str], path: str, body: Any, query: dict[str, str]
) -> None:
    answer = {
        "success": True,
        "job_id": A,
        "status": "pending",
        "deleted": 4,
        "days": 7,
        "dispatched": 1,
        "job_ids": [A],
    }
    server.on("POST", path, Answer(answer))
    result = gpuyard(*words)
    assert result.exit_code == 0, result.output
    asked = only(server, "POST", path)
    assert (asked.body, asked.query) == (body, query)


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "priority", A, "51"],
        ["jobs", "approval", A, "reject"],
        ["queue", "limits", "set", "nope=1"],
        ["queue", "limits", "set", "max_concurrent"],
        ["queue", "limits", "set", "max_concurrent=many"],
        ["queue", "cleanup", "--days", "0", "-y"],
        ["queue", "cleanup"],
        ["jobs", "purge"],
        ["jobs", "purge", "--status", "running", "-y"],
    ],
)
def test_slips_are_usage_errors_and_ask_nothing(gpuyard: Gpuyard, server: Recorder, words: list[str]) -> None:
    assert gpuyard(*words).exit_code == 2
    assert server.asked == []


def test_limits_explain_themselves(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/queue/concurrency", Answer({"max_concurrent": 5, "local_gpu_max_concurrent": None}))
    text = gpuyard("queue", "limits").stdout
    assert "max_concurrent" in text and "none" in text and "cloud jobs at once" in text


def test_me(gpuyard: Gpuyard, server: Recorder) -> None:
    mine = {"pending_count": 1, "running_count": 0, "blocked_count": 2, "best_position": 3}
    server.on("GET", "/api/queue/me", Answer({**mine, "pending_jobs": [job(A)], "running_jobs": []}))
    text = gpuyard("queue", "me").stdout
    assert "0 running, 1 waiting, 2 waiting for approval; the first of them is number 3" in text
    assert A in text


def test_delete_and_purge(gpuyard: Gpuyard, server: Recorder) -> None:
    for job_id in (A, B):
        server.on("DELETE", f"/api/jobs/{job_id}", Answer({"success": True, "job_id": job_id}))
    assert gpuyard("jobs", "delete", A).stdout == f"{A} deleted\n"
    assert gpuyard("jobs", "delete", A, B).exit_code == 2, "several at once are asked for"
    old, young = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    rows = [job(A, status="failed", completed_at=old), job(B, status="failed", completed_at=young)]
    server.on("GET", "/api/jobs", Answer({"jobs": rows, "total": 2}))
    assert gpuyard("jobs", "purge", "--status", "failed", "--older-than", "30d", "-n").stdout == f"{A}\n"
    assert len(server.of("DELETE", f"/api/jobs/{A}")) == 1
    assert gpuyard("jobs", "purge", "--status", "failed", "--older-than", "30d", "-y").stdout == f"{A}\n"
    assert len(server.of("DELETE", f"/api/jobs/{A}")) == 2
    assert len(server.of("DELETE", f"/api/jobs/{B}")) == 0


@pytest.mark.parametrize("verb", [["gpus"], ["gpus", "list"]])
def test_gpus(gpuyard: Gpuyard, server: Recorder, verb: list[str]) -> None:
    server.on("GET", "/api/system/status", Answer(SYSTEM))
    text = gpuyard(*verb).stdout
    assert "12.2/40 GB" in text and "93%" in text and "61°C" in text and "process 4711 (python) uses 1.0 GB" in text
    assert server.asked[0].query == {"include_allocation": "true"}
    found = json.loads(gpuyard(*verb, "--format", "json", "-o", "index,state").stdout)
    assert found == [{"index": 0, "state": "held"}, {"index": 1, "state": "busy_external"}]


def test_one_screen(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/system/status", Answer(SYSTEM))
    server.on("GET", "/api/queue/stats", Answer(STATS))
    server.on("GET", "/api/queue", Answer({"entries": [job(A)], "total_pending": 1, "total_running": 0}))
    text = gpuyard("status").stdout
    assert "up 3h07m" in text and "2 GPUs (simulated)" in text and A in text


def test_an_outage_says_what_why_and_what_to_do(gpuyard: Gpuyard) -> None:
    result = gpuyard("jobs", "list", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "gpuyard: cannot reach the server at http://127.0.0.1:1",
        "  why: nothing listens there (connection refused)",
        "  do:  start it with `gpuyard server`, or name another one: --server URL (GPUYARD_SERVER)",
    ]


def test_version(gpuyard: Gpuyard, server: Recorder) -> None:
    from gpuyard import __version__

    server.on("GET", "/healthz", Answer({"status": "ok", "version": "9.9"}))
    assert json.loads(gpuyard("version", "--format", "json").stdout)["server"] == "9.9"
    assert gpuyard("--version").stdout == f"gpuyard {__version__}\n"
    assert "does not answer" in gpuyard("version", "--server", "http://127.0.0.1:1").stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts(gpuyard: Gpuyard, shell: str) -> None:
    assert "_GPUYARD_COMPLETE" in gpuyard("completion", shell).stdout
