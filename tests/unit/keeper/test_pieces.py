"""The small parts of the keeper's supervisor side."""

from __future__ import annotations

import ast
import fcntl
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gpuyard.actors.keeper import environment, news
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.order import compose
from gpuyard.actors.keeper.ports import Ports
from gpuyard.actors.keeper.program import memory, records
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.keeper.tidy import Tidier
from gpuyard.actors.keeper.zygote import PROGRAM
from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commands import RunSpec


def spec(**changes: object) -> RunSpec:
    return RunSpec(**{"fence": 5, "job_id": "abc", "attempt": 2, "argv": ("x",), **changes})  # type: ignore[arg-type]


def test_mig_slices_are_named_by_uuid_whole_gpus_by_number() -> None:
    gpus = (GpuRef(uuid="MIG-1", index=0), GpuRef(uuid="MIG-2", index=0))
    assert environment.of_run(spec(gpus=gpus), "/d", 1)["CUDA_VISIBLE_DEVICES"] == "MIG-1,MIG-2"
    gpus = (GpuRef(uuid="GPU-1", index=7), GpuRef(uuid="GPU-2", index=1))
    assert environment.of_run(spec(gpus=gpus), "/d", 1)["CUDA_VISIBLE_DEVICES"] == "7,1"


def test_the_users_variables_win_except_over_who_and_where_it_is() -> None:
    env = environment.of_run(spec(env={"MASTER_ADDR": "10.0.0.1", "GPUYARD_JOB_ID": "x", "A": "1"}), "/d", 1)
    assert (env["MASTER_ADDR"], env["GPUYARD_JOB_ID"], env["A"], env["GPUYARD_ATTEMPT"]) == (
        "10.0.0.1",
        "abc",
        "1",
        "2",
    )


def test_the_servers_environment_is_cleaned() -> None:
    dirty = {"PATH": "/bin", "GPUYARD_TOKEN": "t", "GPUYARD_ANYTHING": "x", "NOTIFY_SOCKET": "/s", "LISTEN_FDS": "3"}
    assert environment.cleaned(dirty) == {"PATH": "/bin"}


def test_ports_differ_and_a_used_one_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match="no free port"):
            Ports(port, port).lease(1)
    ports = Ports(21_000, 21_009)
    leased = {fence: ports.lease(fence) for fence in range(1, 6)}
    assert len(set(leased.values())) == 5
    ports.look_ahead()
    assert ports.lease(6) not in leased.values()
    ports.release(1)
    ports.keep(9, leased[1])
    assert leased[1] not in {ports.lease(10), ports.lease(11)}


def test_orders_hold_what_the_program_reads(tmp_path: Path) -> None:
    order = compose(spec(time_limit=1.5, cwd="/x"), KeeperSettings(data_dir=tmp_path, log_cap_mb=3), 21_000)
    assert order["job_dir"] == str(tmp_path / "jobs" / "abc")
    assert (order["log_cap"], order["grace"], order["port"], order["time_limit"]) == (3 << 20, 30.0, 21_000, 1.5)


def test_records_of_a_newer_keeper_are_read_and_nonsense_is_not() -> None:
    data = records.encode("refused", {"fence": 3, "something_new": [1, 2]})
    assert news.read(data) == news.Refused(version=records.VERSION, fence=3)
    for nonsense in (b"", b"{", b"[]", b'{"kind":"refused"}', b'{"kind":"other","fence":1}', b"\xff"):
        assert news.read(nonsense) is None


def test_a_grave_takes_a_place_once(tmp_path: Path) -> None:
    folders = Folders(KeeperSettings(data_dir=tmp_path))
    folders.prepare()
    record = {"fence": 1, "job_id": "a", "ended_at": 1.0, "exit_class": "cancelled"}
    assert folders.bury(1, record)
    assert not folders.bury(1, {**record, "exit_class": "lost"})
    found = folders.exit_record(1)
    assert found is not None and found.exit_class == "cancelled"
    assert folders.unacknowledged() == [1] and folders.lock_is_free(1)
    folders.acknowledge(1)
    assert folders.unacknowledged() == [] and folders.exists(1)
    assert sorted(path.name for path in folders.runs.iterdir()) == [".spares", "1"]
    assert list(folders.spares.iterdir()) == []


def test_folders_of_killed_spares_are_swept_at_the_next_start(tmp_path: Path) -> None:
    folders = Folders(KeeperSettings(data_dir=tmp_path))
    folders.prepare()
    for name in ("1-2", "3-4"):
        (folders.spares / name).mkdir()
        (folders.spares / name / "lock").touch()
    with (folders.spares / "1-2" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        folders.prepare()
        assert [path.name for path in folders.spares.iterdir()] == ["1-2"]
    folders.prepare()
    assert list(folders.spares.iterdir()) == []


def test_folders_in_use_outlive_a_purge(tmp_path: Path) -> None:
    folders = Folders(KeeperSettings(data_dir=tmp_path))
    folders.prepare()
    for fence in (1, 2):
        folders.bury(fence, {"fence": fence})
    used = {1}
    due: list[float] = []
    tidier = Tidier(folders, used.__contains__, due.append)
    tidier.purge((1, 2, 3))
    while due:
        due.clear()
        tidier.step()
    assert folders.exists(1) and not folders.exists(2)
    used.clear()
    tidier.look()
    assert len(due) == 1
    tidier.step()
    assert not folders.exists(1)
    tidier.look()
    assert len(due) == 1, "nothing is left to do"


def test_the_kernels_counter_is_a_number() -> None:
    assert memory.oom_kills() >= 0


def test_the_keeper_program_is_plain_standard_library() -> None:
    allowed = {*sys.stdlib_module_names}
    for path in PROGRAM.parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                modules = [node.module or ""]
            for module in modules:
                ours = module.startswith("gpuyard.actors.keeper.program") or module == "gpuyard.actors.procfs"
                assert ours or module.split(".")[0] in allowed, f"{path.name} imports {module}"


def test_the_keeper_program_loads_nothing_else_of_gpuyard(tmp_path: Path) -> None:
    check = (
        "import runpy, sys\n"
        f"sys.argv = ['x', {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
        "print(' '.join(sorted(sys.modules)))\n"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()  # the supervisor is gone before it asked for anything: the zygote ends
    with theirs:
        command = [sys.executable, "-I", "-S", "-E", "-c", check]
        result = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=True)
    loaded = result.stdout.split()
    program = "gpuyard.actors.keeper.program"
    packages = {"gpuyard", "gpuyard.actors", "gpuyard.actors.procfs", "gpuyard.actors.keeper", program}
    assert program + ".zygote" in loaded
    assert {name for name in loaded if name.startswith("gpuyard") and not name.startswith(program + ".")} == packages
    # What costs memory and start time, and is not needed.
    assert not {"pathlib", "subprocess", "threading", "asyncio", "logging", "shutil", "msgspec"} & set(loaded)
