"""Full disks, too few descriptors, nonsense on a socket: nothing is lost, nobody is harmed."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gpuyard.actors.base import Context
from gpuyard.actors.keeper.crew import RESERVED_DESCRIPTORS
from gpuyard.actors.keeper.program import records
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.process_keeper import ProcessKeeper
from tests.keeper.host import Host
from tests.support import eventually


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_an_end_is_told_although_the_disk_is_full_and_written_once_it_is_not(small_disk: Path, cold_host: Host) -> None:
    cold_host.boot()
    cold_host.shell("echo up; while [ ! -e go ]; do sleep 0.05; done; exit 3")
    cold_host.wait_for_log("up")
    cold_host.record()
    ballast = fill(small_disk)
    (cold_host.job() / "go").touch()
    assert cold_host.end().exit_code == 3
    # The next ones start and end all the same.
    cold_host.shell("exit 4", fence=2)
    assert cold_host.end(2).exit_code == 4
    assert not (cold_host.folder(1) / "exit.json").exists()
    # A supervisor that comes now learns it when there is room again.
    cold_host.shut_down()
    cold_host.heard.clear()
    cold_host.boot()
    ballast.unlink()
    assert (cold_host.end(1).exit_class, cold_host.end(1).exit_code) == ("exit:3", 3)
    assert (cold_host.end(2).exit_class, cold_host.end(2).exit_code) == ("exit:4", 4)


def test_few_descriptors_make_runs_wait_and_nothing_worse(cold_host: Host, caplog: pytest.LogCaptureFixture) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    cold_host.boot()
    # Room for eight keepers more.
    free = set(range(1000)) - {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    resource.setrlimit(resource.RLIMIT_NOFILE, (sorted(free)[8] + RESERVED_DESCRIPTORS, usual[1]))
    try:
        for fence in range(1, 31):
            cold_host.shell("sleep 0.3; exit 7", fence=fence)
        for fence in range(1, 31):
            assert cold_host.end(fence, timeout=60).exit_code == 7
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    assert "too few file descriptors" in caplog.text


def test_nonsense_on_a_keepers_socket_harms_nobody(host: Host) -> None:
    host.shell("exec sleep 60")
    host.started()
    for nonsense in (b"{", b"[]", b"null", b"\xff", b'{"op":"dance"}', b'{"op":"stop"}', b'{"op":"stop","grace":"x"}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(host.folder() / records.CONTROL))
            line.send(nonsense)
            # The keeper has read it when it hangs up.
            if nonsense != b'{"op":"dance"}':
                assert line.recv(1) == b""
    assert not host.all(AttemptExited)
    host.stop()
    assert host.end().exit_class == "cancelled"


def test_nonsense_on_the_supervisors_socket_harms_nobody(host: Host) -> None:
    for nonsense in (b"{", b"[]", b'{"kind":"exit"}', b'{"kind":"ready","version":1}', b"\xff" * 1000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(host.data_dir / "sockets" / records.SUPERVISOR_SOCKET))
            line.send(nonsense)
            host.tell_ping()
    host.shell("exit 3")
    assert host.end().exit_code == 3


def test_a_start_that_fails_leaves_no_zygote_and_no_socket(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sockets").write_text("a file, where a folder belongs")
    crashes: list[BaseException] = []
    context = Context("keeper", crashed=lambda _, error: crashes.append(error))
    ref = ProcessKeeper.start(context, KeeperSettings(data_dir=tmp_path / "data"))
    eventually(lambda: crashes)
    assert isinstance(crashes[0], FileExistsError)
    eventually(lambda: not ref.is_alive())


def test_a_zygote_that_cannot_be_started_is_tried_again(cold_host: Host, tmp_path: Path) -> None:
    python = tmp_path / "python"
    cold_host.boot(python=str(python))
    cold_host.shell("exit 3")
    eventually(lambda: not cold_host.ours())
    assert not cold_host.all(AttemptExited)
    python.symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    assert cold_host.end().exit_code == 3
