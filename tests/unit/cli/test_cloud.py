"""The verbs about cloud providers: what they ask, what they print, how they end."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder

SLURM: dict[str, Any] = {
    "name": "slurm",
    "enabled": True,
    "health": "down",
    "circuit": "open",
    "running": 3,
    "cost_usd": 41.5,
    "capabilities": ["logs", "listing"],
    "configured": True,
    "why": "squeue ended with 1",
    "retry_at": "2026-11-22T10:00:00.000Z",
    "prices": {"a100": 2.0},
    "default_hardware": "a100",
}
RAY = SLURM | {"name": "ray", "enabled": False, "health": "not_configured", "configured": False, "running": 0}
COSTS = [{"key": "slurm", "jobs": 12, "cost_usd": 41.5, "estimated_usd": 60.0, "unpriced": 2}]
PROVIDERS = "/api/cloud/providers"


def test_the_list_says_how_each_is_and_why(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", PROVIDERS, Answer({"providers": [SLURM, RAY]}))
    done = gpuyard("cloud", "providers", "list")
    assert done.exit_code == 0, done.output
    assert "squeue ended with 1" in done.stdout and "not configured" in done.stdout and "41.50" in done.stdout
    found = json.loads(gpuyard("cloud", "providers", "list", "--format", "json", "-o", "name,prices.a100").stdout)
    assert found == [{"name": "slurm", "prices.a100": 2.0}, {"name": "ray", "prices.a100": 2.0}]


def test_a_test_ends_with_1_when_nobody_answers(gpuyard: Gpuyard, server: Recorder) -> None:
    tested = {"success": True, "name": "ray", "detail": "Ray 2.60.0", "seconds": 0.02}
    failed = tested | {"success": False, "detail": "it cannot be reached"}
    server.on("POST", f"{PROVIDERS}/ray/test", Answer(tested), Answer(failed), Answer(failed))
    assert "Ray 2.60.0" in gpuyard("cloud", "providers", "test", "ray").stdout
    done = gpuyard("cloud", "providers", "test", "ray")
    assert done.exit_code == 1 and "it cannot be reached" in done.stderr and not done.stdout
    done = gpuyard("cloud", "providers", "test", "ray", "--format", "json")
    assert done.exit_code == 1 and json.loads(done.stdout)["success"] is False


def test_enable_and_disable_say_so(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("PATCH", f"{PROVIDERS}/slurm", Answer(SLURM | {"enabled": False}), Answer(SLURM))
    assert gpuyard("cloud", "providers", "disable", "slurm").stdout == "slurm disabled\n"
    assert gpuyard("cloud", "providers", "enable", "slurm").stdout == "slurm enabled\n"
    assert [asked.body for asked in server.asked] == [{"enabled": False}, {"enabled": True}]


def test_cost_sums_by_what_was_asked(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/cloud/cost", Answer({"by": "team", "costs": COSTS, "total_usd": 41.5, "total_jobs": 12}))
    done = gpuyard("cloud", "cost", "--by", "team", "--since", "2026-11-01")
    assert "12 jobs, 41.50 USD" in done.stdout and "2 without a price" in done.stdout
    assert server.asked[0].query == {"by": "team", "since": "2026-11-01"}
    assert json.loads(gpuyard("cloud", "cost", "--format", "json").stdout) == COSTS


def test_a_submit_names_provider_options_and_is_for_the_cloud_then(gpuyard: Gpuyard, server: Recorder) -> None:
    answer = {"success": True, "job_id": "x" * 12, "status": "queued", "reasons": [], "estimated_cost": 8.0}
    server.on("POST", "/api/queue/submit", Answer(answer))
    words = ("--provider-option", "hardware=h100", "--provider-option", 'input={"steps": 5}')
    done = gpuyard("jobs", "submit", "--provider", "slurm", *words, "--", "train")
    assert done.exit_code == 0, done.output
    body = server.asked[0].body
    assert body["target"] == "cloud" and body["provider"] == "slurm"
    assert body["provider_options"] == {"hardware": "h100", "input": {"steps": 5}}
    assert "about 8.00 USD" in done.stdout
