"""Runs that write as fast as the disk takes it, or lines of 100 MB: the log is cut at its cap and says so, and neither
the server nor its disk is harmed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.server import Server
from tests.support import eventually

CAP_MB = 64
CAP = CAP_MB << 20
SAID = f"[gpuyard] the log passed its cap of {CAP_MB} MB: from here on only its end is kept"
# What a fast writer gets in between two looks of its keeper, at some GB/s.
SLACK = 1 << 30
TOTAL = 3 << 30
GROWTH = 100 << 20

FAST = f"""
import os
block = (b"y" * 99 + b"\\n") * 10_000
left = {TOTAL}
while left > 0:
    left -= os.write(1, block)
print("the very end", flush=True)
"""
LONG = """
import os
line = b"x" * (1 << 20)
for n in range(4):
    for _ in range(100):
        os.write(1, line)
    os.write(1, b"\\n")
print("the very end", flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, GPUYARD_LOG_CAP_MB=str(CAP_MB))
    yield made.start()
    made.close()


def memory(server: Server) -> int:
    """Resident bytes of the supervisor and of the Frontend."""
    assert server.process is not None
    supervisor = psutil.Process(server.process.pid)
    frontends = [child for child in supervisor.children() if "frontend_process" in " ".join(child.cmdline())]
    assert frontends
    return sum(process.memory_info().rss for process in (supervisor, *frontends))


class Watch(threading.Thread):
    """Looks at the size of a file again and again; `largest` is what it saw."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._over = threading.Event()
        self.largest = 0

    def run(self) -> None:
        while not self._over.wait(0.01):
            if self._path.exists():
                self.largest = max(self.largest, self._path.stat().st_size)

    def end(self) -> int:
        self._over.set()
        self.join()
        return self.largest


@pytest.mark.parametrize("program", [FAST, LONG], ids=["a gigabyte a second", "lines of 100 MB"])
def test_a_flood_is_cut_at_the_cap_and_harms_nobody(server: Server, program: str) -> None:
    before = memory(server)
    job = server.submit(sys.executable, "-S", "-c", program)
    fence = eventually(lambda: server.job(job["job_id"])["attempts"])[0]["fence"]
    log = server.data / "runs" / str(fence) / "log"
    watch = Watch(log)
    watch.start()
    try:
        # Others are served meanwhile, and so are those who look at the flood itself.
        while not (ended := server.job(job["job_id"]))["is_terminal"]:
            assert server.get("/api/queue/stats").status == 200
            assert len(server.get(f"/api/jobs/{job['job_id']}/logs?tail=50").raw) < 8 << 20
        other = server.submit("true", num_processes=0)
        assert server.wait(other["job_id"])["status"] == "completed"
    finally:
        largest = watch.end()
    assert (ended["status"], ended["exit_code"]) == ("completed", 0)
    assert largest < CAP + SLACK, "it was never cut"
    assert log.stat().st_size < CAP + (4 << 20)
    assert said_once(log) and log.read_bytes().endswith(b"the very end\n")
    tail: Any = server.get(f"/api/jobs/{job['job_id']}/logs?tail=1")
    assert b"the very end" in tail.raw
    assert memory(server) - before < GROWTH


def said_once(log: Path) -> bool:
    return log.read_bytes().count(SAID.encode()) == 1
