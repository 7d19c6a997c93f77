"""`gpuyard worker` refuses to start with what cannot work, says why, and never says its token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpuyard.cli.folder_lock import FolderLock, InUse
from gpuyard.cli.settings import SettingsError
from gpuyard.cli.worker_settings import load
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.token import WorkerToken


@pytest.fixture
def token() -> str:
    return WorkerToken((Endpoint("127.0.0.1", 1),), KeyPair.new().public, KeyPair.new()).encode()


def start(tmp_path: Path, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
    return subprocess.run(
        [sys.executable, "-m", "gpuyard", "worker", "--data-dir", str(tmp_path / "data"), *flags],
        env={**own, "GPUYARD_CONFIG_FILE": str(tmp_path / "none.toml"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_token_it_says_where_to_get_one(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert done.returncode == 2
    assert "it has no token" in done.stderr and "gpuyard workers add" in done.stderr


def test_a_misspelt_token_is_told_without_repeating_it(tmp_path: Path, token: str) -> None:
    wrong = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    done = start(tmp_path, GPUYARD_WORKER_TOKEN=wrong)
    assert done.returncode == 2
    assert "cut or misspelt" in done.stderr
    assert wrong[6:] not in done.stderr + done.stdout


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    done = start(tmp_path, "--worker-token-file", str(tmp_path / "no"))
    assert done.returncode == 1 and "the token file cannot be read" in done.stderr


def test_an_address_that_is_none(tmp_path: Path, token: str) -> None:
    done = start(tmp_path, "--orchestrator-url", "http://x", GPUYARD_WORKER_TOKEN=token)
    assert done.returncode == 2 and "tcp://HOST:PORT" in done.stderr


@pytest.mark.parametrize("label", ["gpu", "=x", "a b=c"])
def test_labels_that_are_none(tmp_path: Path, token: str, label: str) -> None:
    done = start(tmp_path, "--label", label, GPUYARD_WORKER_TOKEN=token)
    assert done.returncode == 2 and "worker_labels" in done.stderr


def test_a_folder_that_another_worker_has(tmp_path: Path, token: str) -> None:
    (tmp_path / "data").mkdir()
    lock = FolderLock(tmp_path / "data" / "worker.lock")
    done = start(tmp_path, GPUYARD_WORKER_TOKEN=token)
    assert done.returncode == 1
    assert f"in use by another worker (pid {os.getpid()})" in done.stderr
    with pytest.raises(InUse):
        FolderLock(tmp_path / "data" / "worker.lock")
    lock.release()


def test_the_folder_of_a_server(tmp_path: Path, token: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.db").touch()
    done = start(tmp_path, GPUYARD_WORKER_TOKEN=token)
    assert done.returncode == 1 and "the data folder of a server" in done.stderr


def test_a_damaged_journal(tmp_path: Path, token: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "journal").write_text("00000000 {}\n00000000 {}\n")
    done = start(tmp_path, "--simulate-gpus", "1", GPUYARD_WORKER_TOKEN=token)
    assert done.returncode == 1
    assert "line 1 of" in done.stderr and "move the file away" in done.stderr


def test_settings_come_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_CONFIG_FILE", str(tmp_path / "none.toml"))
    monkeypatch.setenv("GPUYARD_WORKER_LABELS", "gpu=a100, zone=us-1")
    monkeypatch.setenv("GPUYARD_HEARTBEAT_SECONDS", "0.5")
    settings = load({"worker_name": "box"})
    assert settings.worker_labels == {"gpu": "a100", "zone": "us-1"}
    assert (settings.heartbeat_seconds, settings.worker_name) == (0.5, "box")
    assert load({"worker_labels": ("gpu=h100",)}).worker_labels == {"gpu": "h100"}
    with pytest.raises(SettingsError, match="worker_max_jobs"):
        load({"worker_max_jobs": 0})
