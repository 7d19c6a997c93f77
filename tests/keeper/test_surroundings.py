"""What a run finds around it: environment, folder, descriptors, signals, log."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from gpuyard.actors.model.attempt import GpuRef
from tests.keeper.host import Host
from tests.support import eventually

SHOW_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def environment(host: Host, fence: int = 1) -> dict[str, str]:
    assert host.end(fence).exit_class == "completed", host.end(fence)
    found: dict[str, str] = json.loads(host.log(fence))
    return found


def test_a_run_is_told_who_it_is_and_what_it_has(host: Host) -> None:
    gpus = (GpuRef(uuid="GPU-b", index=3), GpuRef(uuid="GPU-a", index=0))
    host.python(SHOW_ENVIRONMENT, fence=7, gpus=gpus, num_processes=2, env={"LR": "1e-4"})
    env = environment(host, 7)
    port = int(env["MASTER_PORT"])
    assert {name: env[name] for name in env if name.startswith(("GPUYARD", "CUDA", "MASTER", "PYTHONU", "LR"))} == {
        "CUDA_VISIBLE_DEVICES": "3,0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "GPUYARD_JOB_ID": "job7",
        "GPUYARD_ATTEMPT": "1",
        "GPUYARD_FENCE": "7",
        "GPUYARD_GPU_UUIDS": "GPU-b,GPU-a",
        "GPUYARD_NUM_PROCESSES": "2",
        "GPUYARD_JOB_DIR": str(host.job(7)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        "LR": "1e-4",
    }
    assert 20_000 <= port < 29_500


def test_a_cpu_job_sees_no_gpu(host: Host) -> None:
    host.python(SHOW_ENVIRONMENT)
    assert environment(host)["CUDA_VISIBLE_DEVICES"] == ""


def test_the_servers_secrets_are_not_passed_on(cold_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_TOKEN", "gy_1234567")
    monkeypatch.setenv("GPUYARD_WORKER_TOKEN", "gy_1234567")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("HF_HOME", "/models")
    cold_host.boot()
    cold_host.python(SHOW_ENVIRONMENT, env={"GPUYARD_FENCE": "9", "CUDA_VISIBLE_DEVICES": "5", "MASTER_PORT": "1234"})
    env = environment(cold_host)
    assert "gy_1234567" not in env.values() and "NOTIFY_SOCKET" not in env
    assert (env["HF_HOME"], env["MASTER_PORT"]) == ("/models", "1234")
    assert (env["GPUYARD_FENCE"], env["CUDA_VISIBLE_DEVICES"]) == ("1", "")
    for pid in cold_host.ours():
        assert b"gy_1234567" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_live_runs_have_ports_of_their_own_that_can_be_bound(host: Host) -> None:
    fences = range(1, 9)
    for fence in fences:
        host.shell("echo $MASTER_PORT > port; exec sleep 60", fence=fence)
    ports = {int(host.wait_for(host.job(fence) / "port")) for fence in fences}
    assert len(ports) == len(fences)
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_the_jobs_folder_is_where_it_runs_and_it_is_kept(host: Host, tmp_path: Path) -> None:
    host.shell(
        "pwd; cat config.toml sub/more; echo kept > checkpoint", files={"config.toml": "a=1\n", "sub/more": "é\n"}
    )
    assert host.end().exit_class == "completed"
    assert host.log() == f"{host.job()}\na=1\né\n"
    assert (host.job() / "checkpoint").read_text() == "kept\n"
    assert (host.job().stat().st_mode & 0o777, host.folder().stat().st_mode & 0o777) == (0o700, 0o700)
    host.shell("pwd", fence=2, cwd=str(tmp_path))
    host.end(2)
    assert host.log(2) == f"{tmp_path}\n"


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    host.job().mkdir()
    (host.job() / "config.json").symlink_to(tmp_path / "precious")
    host.shell("cat config.json", files={"config.json": "new"})
    host.end()
    assert host.log() == "new"
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_run_has_a_session_of_its_own_no_terminal_and_no_odd_descriptor(host: Host) -> None:
    host.python(
        "import os, json, contextlib\n"
        "links = []\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    with contextlib.suppress(OSError):\n"
        "        links.append(os.readlink(f'/proc/self/fd/{fd}'))\n"
        "print(json.dumps([os.getpid(), os.getsid(0), os.getpgrp(), os.read(0, 1).hex(), links]))\n"
    )
    host.end()
    pid, session, group, stdin, links = json.loads(host.log())
    assert pid == session == group and stdin == ""
    folder = str(host.folder())
    assert set(links) <= {"/dev/null", f"{folder}/log", f"{folder}/lock", f"/proc/{pid}/fd"}


def test_no_signal_is_blocked_or_ignored(host: Host) -> None:
    host.shell("grep -E 'Sig(Blk|Ign)' /proc/self/status")
    host.end()
    # 32 and 33 are the C library's own, which every posix_spawn sets to "ignored".
    own = 1 << 31 | 1 << 32
    assert [int(line.split()[1], 16) & ~own for line in host.log().splitlines()] == [0, 0]


def test_a_training_dies_before_the_supervisor(host: Host) -> None:
    host.shell("cat /proc/self/oom_score_adj; exec sleep 60")
    host.wait_for_log("500")
    usual = Path("/proc/self/oom_score_adj").read_text()
    keeper = host.record().keeper_pid
    eventually(lambda: Path(f"/proc/{keeper}/oom_score_adj").read_text() == usual)


def test_odd_unicode_arrives_as_it_was_sent(host: Host, tmp_path: Path) -> None:
    odd = "naïve 🚀 \u202e\u0301 \\ ' \" $HOME"
    folder = tmp_path / odd
    folder.mkdir()
    script = (
        "import os, sys; sys.stdout.buffer.write(os.fsencode(os.getcwd() + '|' + sys.argv[1] + '|' + os.environ['Ü']))"
    )
    host.tell_ping()
    host.run("/usr/bin/env", "python3", "-c", script, odd, env={"Ü": odd, "PATH": os.environ["PATH"]}, cwd=str(folder))
    assert host.end().exit_class == "completed", host.log()
    assert host.log() == f"{folder}|{odd}|{odd}"


def test_a_command_far_longer_than_a_socket_message(host: Host) -> None:
    big = {f"V{number}": "x" * 60_000 for number in range(10)}
    host.python("import os; print(sum(len(os.environ[f'V{n}']) for n in range(10)))", env=big)
    assert host.end().exit_class == "completed"
    assert host.log() == "600000\n"


def test_a_data_folder_with_a_long_odd_name(tmp_path: Path) -> None:
    host = Host(tmp_path / ("d" * 200) / ("ü" * 60) / "data")
    host.boot()
    try:
        host.shell("echo $GPUYARD_JOB_DIR; pwd")
        assert host.end().exit_class == "completed"
        assert host.log() == f"{host.job()}\n" * 2
        host.shell("exec sleep 60", fence=2)
        host.started(2)
        host.stop(2)
        assert host.end(2).exit_class == "cancelled"
    finally:
        host.shut_down()
        eventually(lambda: not host.ours())
    assert not host.crashes


def test_a_keeper_is_small(host: Host) -> None:
    host.shell("exec sleep 60")
    rollup = Path(f"/proc/{host.record().keeper_pid}/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss < 10_000, f"a keeper takes {pss} kB"


def test_a_ctrl_c_in_the_servers_terminal_reaches_nobody(host: Host) -> None:
    host.shell("exec sleep 60")
    started = host.started()
    ours = [*host.ours(), started.pid]
    assert os.getpgrp() not in {os.getpgid(pid) for pid in ours}
    assert os.getsid(0) not in {os.getsid(pid) for pid in ours}
    os.killpg(os.getpgid(started.pid), signal.SIGKILL)
    assert host.end().exit_class == "signal:SIGKILL"
