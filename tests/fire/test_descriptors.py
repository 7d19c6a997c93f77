"""A server that may open only a few files: it refuses to start instead of limping."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit (util-linux) is not installed")
    made = Server(tmp_path)
    yield made
    made.close()


def test_64_descriptors_are_refused_with_the_cure(server: Server) -> None:
    server.prefix = ["prlimit", "--nofile=64:64"]
    assert server.launch().wait(timeout=60) == 1
    assert "64 files" in server.stderr() and "ulimit -n" in server.stderr() and "LimitNOFILE" in server.stderr()
    assert "Traceback" not in server.stderr()
    assert not (server.data / "jobs.db").exists()


def test_a_low_soft_limit_is_raised(server: Server) -> None:
    server.prefix = ["prlimit", "--nofile=64:512"]
    server.start()
    assert server.process is not None
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (512, 512)
    job_id = server.submit("true")["job_id"]
    assert server.wait(job_id)["status"] == "completed"
