"""A client verb loads neither the server nor what it would not use: that is what keeps it quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.recorder import Answer, Recorder, job

HEAVY = {"fastapi", "starlette", "pydantic", "pydantic_settings", "peewee", "pynvml", "zmq", "pykka", "uvicorn"}
HEAVY |= {"msgspec", "httpx2", "asyncio", "rich", "psutil", "jinja2", "yaml", "tomlkit", "prometheus_client"}
SPY = """
import sys, atexit
words, place = sys.argv[1:-1], sys.argv[-1]
sys.argv = ["gpuyard", *words]
atexit.register(lambda: open(place, "w").write(" ".join({name.partition(".")[0] for name in sys.modules})))
from gpuyard.cli.main import main
main()
"""


def loaded(words: list[str], url: str, place: str) -> set[str]:
    """The top-level modules that a command loads."""
    environment = {**os.environ, "GPUYARD_SERVER": url}
    done = subprocess.run(
        [sys.executable, "-c", SPY, *words, place], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(Path(place).read_text().split())


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["jobs", "--help"],
        ["jobs", "list"],
        ["jobs", "list", "--format", "json"],
        ["jobs", "get", "aaaaaaaaaaaa"],
        ["jobs", "submit", "tiny"],
        ["jobs", "why", "aaaaaaaaaaaa"],
        ["queue", "limits"],
        ["version"],
    ],
)
def test_no_heavy_module_is_loaded(server: Recorder, tmp_path: object, words: list[str]) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [job()], "total": 1}))
    server.on("GET", "/api/jobs/aaaaaaaaaaaa", Answer({"job": job()}))
    server.on("GET", "/api/queue/concurrency", Answer({"max_concurrent": 5}))
    server.on("GET", "/api/queue/position/aaaaaaaaaaaa", Answer({"job_id": "aaaaaaaaaaaa", "status": "pending"}))
    server.on("POST", "/api/queue/submit", Answer({"success": True, "job_id": "aaaaaaaaaaaa", "status": "running"}))
    server.on("GET", "/healthz", Answer({}))
    found = loaded(words, server.url, f"{tmp_path}/modules")
    assert not found & HEAVY
    if "--help" in words:
        assert not found & {"http", "json", "ssl", "socket", "pathlib", "urllib"}
