"""`gpuyard doctor` on a real server: each promise about runs is broken on purpose, and found with what to do."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.store import census
from gpuyard.cli.doctor import runs
from gpuyard.cli.doctor.finding import Finding, Level
from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.keeper.host import comm
from tests.support import eventually

Start = Callable[..., int]
WAITS = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    server = make_server().start()
    server.limits(local_job_max_concurrent=4)
    return server


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that waits: (environment, folder) → its pid. All are ended with the test."""
    with ExitStack() as stack:

        def made(environ: dict[str, str] | None = None, cwd: Path | None = None) -> int:
            process = subprocess.Popen(
                [sys.executable, "-c", WAITS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **(environ or {})},
                cwd=cwd,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            return process.pid

        yield made


def doctor(server: Server) -> list[Finding]:
    """What the verb says of the runs of this server."""
    command = [sys.executable, "-m", "gpuyard", "doctor", "--data-dir", str(server.data), "--format", "json"]
    environ = {**os.environ, "GPUYARD_CONFIG_FILE": str(server.folder / "none.toml"), "GPUYARD_SIMULATE_GPUS": "4"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environ)
    found = [Finding(Level(one["level"]), one["about"], one["text"], one["do"]) for one in json.loads(done.stdout)]
    assert done.returncode == (1 if any(finding.level is Level.FAILURE for finding in found) else 0), done.stderr
    return [finding for finding in found if finding.about == "runs"]


def check(server: Server, pid: int | None = None) -> list[Finding]:
    """The same in this process, as if the server's pid were `pid`."""
    return list(runs.check(server.data, server.data / "jobs.db", pid))


def carried(server: Server, job_id: str, fence: int) -> dict[str, str]:
    """The environment of a process of that run."""
    return {"GPUYARD_FENCE": str(fence), "GPUYARD_JOB_DIR": str(server.data / "jobs" / job_id)}


def ended(server: Server, *command: str) -> dict[str, Any]:
    return server.wait(server.submit(*(command or ("sh", "-c", "exit 3")))["job_id"])


def only(findings: list[Finding]) -> Finding:
    (finding,) = [finding for finding in findings if finding.level is not Level.OK]
    return finding


def test_a_healthy_server_has_nothing_to_complain_of(server: Server) -> None:
    server.wait_phase(server.submit("sh", "-c", "sleep 600 & sleep 600")["job_id"])
    server.wait_phase(server.submit("env", "-i", "sleep", "600")["job_id"])
    assert ended(server)["exit_code"] == 3
    assert ended(server, "true")["exit_code"] == 0
    assert doctor(server) == [Finding(Level.OK, "runs", "2 live runs, as the database has it")]


def test_nothing_is_wrong_while_no_server_looks_after_its_runs(server: Server) -> None:
    job = server.wait_phase(server.submit("sleep", "600")["job_id"])
    server.kill()
    os.kill(job["attempts"][0]["pid"], signal.SIGKILL)
    eventually(lambda: (server.data / "runs" / str(job["attempts"][0]["fence"]) / "exit.json").exists())
    assert [finding.level for finding in check(server)] == [Level.OK]


def test_a_second_run_of_a_job_is_found(server: Server, start: Start) -> None:
    job = server.wait_phase(server.submit("sleep", "600")["job_id"])
    fence = job["attempts"][0]["fence"]
    pid = start(carried(server, job["job_id"], fence + 7))
    found = [finding for finding in doctor(server) if "at once" in finding.text]
    assert f"job {job['job_id']} runs 2 times at once" in only(found).text
    assert str(fence) in only(found).text and f"kill {pid}" in only(found).do


def test_a_gpu_that_was_given_twice_is_found(server: Server) -> None:
    first, second = (server.wait_phase(server.submit("sleep", "600")["job_id"]) for _ in range(2))
    server.kill()
    with closing(sqlite3.connect(server.data / "jobs.db", isolation_level=None)) as database:
        (gpus,) = database.execute("SELECT gpus FROM attempt WHERE job_id = ?", (first["job_id"],)).fetchone()
        database.execute("UPDATE attempt SET gpus = ? WHERE job_id = ?", (gpus, second["job_id"]))
    finding = only(check(server))
    assert (finding.level, finding.about) == (Level.FAILURE, "gpus")
    assert first["job_id"] in finding.text and second["job_id"] in finding.text


def test_a_run_without_a_process_is_found(server: Server) -> None:
    job = server.wait_phase(server.submit("sleep", "600")["job_id"])
    fence = job["attempts"][0]["fence"]
    eventually(lambda: census.attempts(server.data / "jobs.db")[fence].pid, message="its start was never stored")
    server.kill()
    # Keepers first: one that sees its program die writes down how.
    for pid in sorted(server.processes(), key=lambda pid: comm(pid) != "gpuyard-keeper"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not server.processes())
    # As if a server were there that does not notice.
    finding = only(check(server, os.getpid()))
    assert finding.level is Level.FAILURE
    assert f"job {job['job_id']} is running in the database, but no process" in finding.text
    server.start()
    eventually(lambda: server.job(job["job_id"])["attempts"][0]["exit_class"] == "lost", timeout=60)


def test_a_process_of_a_run_that_has_ended_is_found(server: Server, start: Start) -> None:
    job = ended(server)
    pid = start(carried(server, job["job_id"], job["attempts"][0]["fence"]))
    finding = only(doctor(server))
    assert finding.level is Level.FAILURE
    assert f"pid {pid}" in finding.text and "has ended (exit:3)" in finding.text and f"kill {pid}" in finding.do


def test_a_process_of_a_run_that_the_database_does_not_know_is_found(server: Server, start: Start) -> None:
    pid = start(carried(server, "nobodysjob12", 4711))
    finding = only(doctor(server))
    assert finding.level is Level.FAILURE
    assert f"pid {pid}" in finding.text and "run 4711 of job nobodysjob12, which this database" in finding.text


def test_a_process_that_hides_is_found_by_its_session(server: Server, tmp_path: Path) -> None:
    """No environment, no open file, another folder; its keeper was killed, so that nobody swept it."""
    hidden = tmp_path / "hidden"
    script = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.chdir('/')\n"
        f"    open({str(hidden)!r}, 'w').write(str(os.getpid()))\n"
        "    os.closerange(0, 1000)\n"
        f"    os.execve(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(600)'], {{}})\n"
        "time.sleep(600)\n"
    )
    job = server.wait_phase(server.submit(sys.executable, "-c", script)["job_id"])
    pid = int(eventually(lambda: hidden.exists() and hidden.read_text()))
    fence = job["attempts"][0]["fence"]
    try:
        stored = census.attempts(server.data / "jobs.db")[fence]
        seen = runs.look(server.data, server.data / "jobs.db", None)
        assert (stored.is_live, pid in {one.pid for one in seen.living if one.fence == fence}) == (True, True)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_process_in_the_folder_of_a_job_that_has_ended_is_a_warning(server: Server, start: Start) -> None:
    job = ended(server)
    pid = start(cwd=server.data / "jobs" / job["job_id"])
    finding = only(doctor(server))
    assert finding.level is Level.WARNING
    assert f"pid {pid}" in finding.text and job["job_id"] in finding.text


def test_an_end_that_changed_is_found(server: Server) -> None:
    job = ended(server)
    path = server.data / "runs" / str(job["attempts"][0]["fence"]) / "exit.json"
    path.write_text(path.read_text().replace('"code":3', '"code":0').replace("exit:3", "completed"))
    finding = only(doctor(server))
    assert finding.level is Level.FAILURE
    assert "ended as completed (0), but is stored as exit:3 (3)" in finding.text
