"""`gpuyard server` refuses a place for workers that cannot be, and says which setting it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def start(tmp_path: Path, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
    command = [sys.executable, "-W", "error", "-m", "gpuyard", "server", "--port", "0", "--simulate-gpus", "1"]
    return subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data"), *flags],
        env={**own, "GPUYARD_CONFIG_FILE": str(tmp_path / "none.toml"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        (("--zmq-bind", "nonsense"), "zmq_bind"),
        (("--zmq-bind", "127.0.0.1:99999"), "zmq_bind"),
        (("--zmq-bind", "127.0.0.1:0", "--zmq-advertise", "no port"), "zmq_advertise"),
    ],
)
def test_an_address_that_is_none_is_a_usage_error(tmp_path: Path, flags: tuple[str, ...], setting: str) -> None:
    done = start(tmp_path, *flags)
    assert done.returncode == 2
    assert f"{setting}: " in done.stderr and "tcp://HOST:PORT" in done.stderr


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = start(tmp_path, "--zmq-bind", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr and "--zmq-bind" in done.stderr


def test_a_damaged_key_is_never_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "zmq.key").write_text("nonsense")
    done = start(tmp_path, "--zmq-bind", "127.0.0.1:0")
    assert done.returncode == 2 and "holds no key pair" in done.stderr
    assert (tmp_path / "data" / "zmq.key").read_text() == "nonsense"
