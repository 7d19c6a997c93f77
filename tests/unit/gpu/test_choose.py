"""Which probe a machine gets, and what was said of GPUs by hand."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from gpuyard.actors import procfs
from gpuyard.actors.gpu import asides, choose
from gpuyard.actors.gpu.none import NoProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu.simulated import SimulatedProbe
from gpuyard.actors.model.gpu_card import Asides
from gpuyard.actors.model.gpu_reading import Reading
from tests.fake_nvml import Script


def test_simulated_gpus_when_asked_for(tmp_path: Path) -> None:
    probe = choose.choose("3:A100", GpuSettings(data_dir=tmp_path))
    assert isinstance(probe, SimulatedProbe)
    (tmp_path / "gpu_faults.json").write_text('{"1": {"lost": true}}')
    reading = probe.take()
    assert reading is not None
    assert [gpu.lost is not None for gpu in reading.gpus] == [False, True, False]


def test_a_bad_number_of_simulated_gpus_is_refused() -> None:
    with pytest.raises(ValueError, match="give N"):
        choose.choose("none", GpuSettings())


def test_no_gpus_where_the_driver_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "LIBRARY", "libnvidia-ml.so.nowhere")
    probe = choose.choose(None, GpuSettings())
    assert isinstance(probe, NoProbe)
    assert probe.take() == Reading()


def test_nvml_where_it_is(script: Script) -> None:
    code = """
from gpuyard.actors.gpu.choose import choose
from gpuyard.actors.gpu.settings import GpuSettings
print(choose(None, GpuSettings()).backend)
"""
    ran = subprocess.run([sys.executable, "-c", code], env=script.env(), capture_output=True, text=True, check=True)
    assert ran.stdout == "cuda\n"


def test_the_server_does_not_load_pynvml() -> None:
    """Only the helper does: a crash of the library must not be the server's."""
    code = "import sys, gpuyard.actors.gpu_allocator, gpuyard.actors.gpu.choose; print('pynvml' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


NOTHING = Asides(boot_id=procfs.boot_id())


def test_what_was_set_aside_is_kept(tmp_path: Path) -> None:
    assert asides.load(tmp_path) == NOTHING
    kept = Asides(by_hand={"GPU-a": True}, ecc={"GPU-b": 2}, xids={"GPU-a": ["Xid 79"]}, boot_id=procfs.boot_id())
    asides.save(tmp_path, kept)
    assert asides.load(tmp_path) == kept
    assert [path.name for path in tmp_path.iterdir()] == ["gpus.json"]


def test_a_reboot_resets_gpus_but_not_what_was_said_by_hand(tmp_path: Path) -> None:
    asides.save(tmp_path, Asides(by_hand={"GPU-a": True}, xids={"GPU-a": ["Xid 79"]}, boot_id="an earlier one"))
    assert asides.load(tmp_path) == Asides(by_hand={"GPU-a": True}, boot_id=procfs.boot_id())


def test_without_a_folder_nothing_is_kept() -> None:
    asides.save(None, Asides(by_hand={"GPU-a": True}))
    assert asides.load(None) == NOTHING


def test_a_damaged_file_is_reported_and_left_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gpus.json").write_text("{")
    with caplog.at_level(logging.WARNING, "gpuyard.gpus"):
        assert asides.load(tmp_path) == NOTHING
    assert "gpus.json cannot be read" in caplog.text
    assert (tmp_path / "gpus.json").read_text() == "{"
