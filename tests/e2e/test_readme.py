"""Every block of the README is executed, word for word; only the port is a free one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gpuyard.actors.cloud import registry
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.model.description import Source, describe
from gpuyard.cli.cloud_settings import checked, price_table
from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, Worker, free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TOML = re.findall(r"```toml\n(.*?)\n```", README, re.S)
COMMANDS = dict(re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*?)\n```", README, re.S))


def clone(target: Path) -> Path:
    """What a fresh clone of the present tree would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_symlink() or source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    return target


def bash(script: str, cwd: Path, timeout: float, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("GPUYARD_", "PYTEST_", "PYTHONPATH"))}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=cwd,
        env={**own, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_every_shell_block_is_named_and_so_executed_here() -> None:
    assert README.count("```bash") == len(COMMANDS)
    page = {"demo", "test", "server", "use", "limits", "cancel", "curl"}
    page |= {"certificate", "open", "elsewhere", "proxy"}
    assert set(COMMANDS) == page | {
        "people",
        "rules",
        "webhooks",
        "secrets",
        "fleet",
        "enrol",
        "worker",
        "dispatch",
        "pull",
        "cloud",
    }
    assert all("\n" not in COMMANDS[name] for name in ("demo", "test")), "single lines"


def test_ci_runs_the_readmes_test_command() -> None:
    assert "command: test" in (ROOT / ".ci/run").read_text()


@pytest.mark.timeout(600)
def test_the_demo_command_runs_real_trainings_and_leaves_nothing(tmp_path: Path) -> None:
    tree = clone(tmp_path / "clone")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = bash(COMMANDS["demo"], tree, 500, TMPDIR=str(scratch), HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loss" in done.stdout + done.stderr and "completed" in done.stdout
    assert not [path for path in scratch.iterdir() if "gpuyard" in path.name], "nothing left behind"


@pytest.mark.timeout(600)
def test_the_test_command_sets_up_and_finds_all_tests(tmp_path: Path) -> None:
    tree = clone(tmp_path / "clone")
    done = bash(COMMANDS["test"], tree, 500, PYTEST_ADDOPTS="--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_readme" in done.stdout


@pytest.mark.timeout(180)
def test_the_commands_to_use_it_work_in_the_order_of_the_page(make_server: MakeServer, tmp_path: Path) -> None:
    assert COMMANDS["server"].split() == ["gpuyard", "server", "--simulate-gpus", "4"]
    server = make_server().start()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GPUYARD_SERVER": server.url,
        "HOME": str(tmp_path),
    }
    outputs = {}
    for name in ("use", "limits", "cancel", "curl"):
        script = COMMANDS[name].replace("localhost:8000", f"localhost:{urlsplit(server.url).port}")
        done = bash(script, tmp_path, 60, **environ)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        outputs[name] = done.stdout
    assert "submitted, followed, and its exit code is mine" in outputs["use"]
    assert "GpusBusy" in outputs["limits"] or "GPUs" in outputs["limits"]
    assert '"success":true' in outputs["curl"].replace(" ", "") and "queue_depth" in outputs["curl"]
    _all_ended(server)
    done = bash(COMMANDS["secrets"], tmp_path, 60, **environ)
    assert done.returncode == 0 and "HF_TOKEN" in done.stdout, (done.stdout, done.stderr)


@pytest.mark.timeout(180)
def test_the_commands_about_people_work_in_the_order_of_the_page(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server().start()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GPUYARD_SERVER": server.url,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    done = bash(COMMANDS["people"], tmp_path, 120, **environ)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "root (1)" in done.stdout and "anns" in done.stdout and "user_changed" in done.stdout
    server.token = (tmp_path / "ann.token").read_text().strip()
    assert server.get("/api/users/me").body["level"] == "lead"
    assert server.request("GET", "/api/users/me", None, {"Authorization": "Bearer gy_x"}).status == 401
    server.token = (tmp_path / "root.token").read_text().strip()
    # Leads are bound by the rule, administrators not.
    done = bash(COMMANDS["rules"], tmp_path, 120, **environ)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "blocked" in done.stdout and "above $50.00" in done.stdout and "GPU-hours" in done.stderr
    hooks = bash(COMMANDS["webhooks"], tmp_path, 60, **environ)
    assert hooks.returncode == 0 and "enabled" in hooks.stdout, (hooks.stdout, hooks.stderr)
    assert (tmp_path / "hook.secret").read_text().startswith("whsec_")
    [approval] = server.get("/api/approvals").body["approvals"]
    assert (approval["status"], approval["decided_by"], approval["username"]) == ("approved", "root", "ann")
    assert server.post("/api/jobs/cancel", {"all": True, "all_users": True}).status == 200
    _all_ended(server)


@pytest.mark.timeout(180)
def test_the_commands_about_other_machines_work_in_the_order_of_the_page(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server().start()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GPUYARD_SERVER": server.url,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    for script in (COMMANDS["people"], COMMANDS["certificate"]):
        done = bash(script, tmp_path, 120, **environ)
        assert done.returncode == 0, (done.stdout, done.stderr)
    assert (tmp_path / "gpu.key").stat().st_mode & 0o077 == 0
    assert server.stop() == 0

    plain = list(server.flags)
    words = COMMANDS["open"].replace("gpu.crt", str(tmp_path / "gpu.crt")).replace("gpu.key", str(tmp_path / "gpu.key"))
    server.flags = [*plain, *words.split()[2:]]
    server.cacert, server.token = tmp_path / "gpu.crt", (tmp_path / "root.token").read_text().strip()
    server.start()
    there = tmp_path / "another"
    there.mkdir()
    for name in ("gpu.crt", "ann.token"):
        shutil.copy(tmp_path / name, there)
    elsewhere = COMMANDS["elsewhere"].replace("gpu.lab:8000", f"localhost:{urlsplit(server.url).port}")
    done = bash(elsewhere, there, 60, **environ | {"XDG_CONFIG_HOME": str(there / "config")})
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "as ann" in done.stderr and "hello from another machine" in done.stdout
    assert server.stop() == 0

    server.flags = [*plain, *COMMANDS["proxy"].split()[2:]]
    server.start()
    by_proxy = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7", "Host": "gpu.lab"}
    assert server.request("GET", "/api/users/me", None, by_proxy).body["address"] == "198.51.100.7"
    assert server.post("/api/jobs/cancel", {"all": True, "all_users": True}).status == 200
    _all_ended(server)


@pytest.mark.timeout(180)
def test_the_commands_about_workers_work_in_the_order_of_the_page(make_server: MakeServer, tmp_path: Path) -> None:
    port = free_port()
    words = (
        COMMANDS["fleet"].replace("0.0.0.0:8100", f"127.0.0.1:{port}").replace("queue.lan:8100", f"127.0.0.1:{port}")
    )
    server = make_server(*words.split()[4:], gpus="1", **QUICK).start()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GPUYARD_SERVER": server.url,
        "HOME": str(tmp_path),
    }
    done = bash(COMMANDS["enrol"], tmp_path, 60, **environ)
    assert done.returncode == 0, done.stderr
    worker = Worker(server, tmp_path / "gpu-box", "gpu-box", (tmp_path / "gpu-box.token").read_text().strip(), "4")
    assert COMMANDS["worker"].split() == [
        "gpuyard",
        "worker",
        "--worker-token-file",
        "gpu-box.token",
        "--simulate-gpus",
        worker.gpus,
    ]
    try:
        worker.start()
        done = bash(COMMANDS["dispatch"], tmp_path, 60, **environ)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert "gpu-box:0" in done.stdout and "gpu-box is being drained" in done.stdout
        waiting = [job for job in server.get("/api/jobs").body["jobs"] if job["name"] == "waits"]
        assert server.wait(waiting[0]["job_id"])["status"] == "completed"
        done = bash(
            COMMANDS["pull"].replace("~/.local/share/gpuyard-worker", str(worker.data)), tmp_path, 90, **environ
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert "unreachable" in done.stdout
        (there,) = [job for job in server.get("/api/jobs").body["jobs"] if job["name"] == "there"]
        assert (server.wait_phase(there["job_id"])["status"], there["attempt"]) == ("running", 1)
        bash(COMMANDS["cancel"], tmp_path, 60, **environ)
        _all_ended(server)
    finally:
        worker.close()


@pytest.mark.timeout(180)
def test_the_commands_about_clouds_work_in_the_order_of_the_page(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(GPUYARD_PROVIDERS='{"simulated": {"hardware": "sim", "prices": {"sim": 1.5}}}').start()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GPUYARD_SERVER": server.url,
        "HOME": str(tmp_path),
    }
    done = bash(COMMANDS["cloud"], tmp_path, 90, **environ)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "replicate" in done.stdout and "not configured" in done.stdout
    assert "24.00 USD" in done.stdout, "8 GPUs for 2 hours at 1.50 USD"


def test_the_providers_of_the_page_can_be_configured_so(tmp_path: Path) -> None:
    block = next(block for block in TOML if block.startswith("[providers"))
    token, bin_dir = tmp_path / "replicate.token", tmp_path / "bin"
    token.write_text("r8_x")
    token.chmod(0o600)
    bin_dir.mkdir()
    (bin_dir / "sbatch").touch(0o700)
    tables = tomllib.loads(block.replace("/etc/gpuyard/replicate.token", str(token)))["providers"]
    tables["slurm"]["bin_dir"] = str(bin_dir)
    assert price_table(checked(tables), 1.0).price("slurm", None) == 2.0
    settings = CloudSettings(data_dir=tmp_path, providers=tables)
    for name in tables:
        assert registry.open_one(name, settings).capabilities.uploads


def _all_ended(server: Server) -> None:
    for job in server.get("/api/jobs?limit=100").body["jobs"]:
        server.wait(job["job_id"])


def test_the_job_description_is_one_that_is_understood() -> None:
    block = next(block for block in TOML if block.startswith("command"))
    described = describe(tomllib.loads(block), Source(name="readme", format="toml"))
    assert described["num_processes"] == 2 and described["time_limit"] == 12 * 3600
