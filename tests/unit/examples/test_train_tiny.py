"""The example training really learns, resumes to the very same result, and saves when it is asked to stop."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpuyard.cli.demo import train_tiny
from tests.support import eventually

SCRIPT = Path(__file__).parents[3] / "tools" / "examples" / "train_tiny.py"


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """The training as a job would run it: stdout in `folder/log`."""
    folder.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPUYARD_", "CUDA_"))}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), "--dir", str(folder), *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={**kept, **environment},
        )


def train(folder: Path, *options: str, **environment: str) -> str:
    """Run it to its end, which must be good; what it printed."""
    process = start(folder, *options, **environment)
    assert process.wait(100) == 0, (folder / "log").read_text()
    return (folder / "log").read_text()


def weights(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "checkpoint.json").read_text())
    return found


def test_it_learns(tmp_path: Path) -> None:
    log = train(tmp_path, "--steps", "150")
    found = re.search(r"^done: loss (\S+) -> (\S+) in 150 steps$", log, re.MULTILINE)
    assert found, log
    before, after = float(found[1]), float(found[2])
    assert before > 3.5, "it begins with knowing nothing: about ln(47) nats"
    assert after < before - 1.0
    assert re.search(r"^step 150/150 loss \d\.\d+$", log, re.MULTILINE)


@pytest.mark.parametrize("layer", ["seen", "bias", "out", "out_bias"])
def test_the_gradients_are_right(layer: str) -> None:
    """One step with rate 1 moves a weight by its slope, which finite differences of the loss give too."""
    training = train_tiny.Training(seed=3)
    network = training.network
    context, target = training.examples[10]

    def row() -> list[float]:
        return {
            "seen": network.seen[0][context[0]],
            "bias": network.bias,
            "out": network.out[target],
            "out_bias": network.out_bias,
        }[layer]

    def loss_with(change: float) -> float:
        row()[2] += change
        found = -math.log(network.predict(context)[1][target])
        row()[2] -= change
        return found

    slope = (loss_with(1e-5) - loss_with(-1e-5)) / 2e-5
    before = row()[2]
    network.learn(context, target, rate=1.0)
    assert before - row()[2] == pytest.approx(slope, rel=1e-4)


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, "--steps", "60")
    train(parts, "--steps", "25")
    log = train(parts, "--steps", "60")
    assert "going on from step 25" in log
    assert weights(parts) == weights(whole)


@pytest.mark.parametrize(
    ("environment", "code"), [({"GPUYARD_JOB_ID": "aaaaaaaaaaaa", "GPUYARD_ATTEMPT": "1"}, 85), ({}, 143)]
)
def test_on_sigterm_it_saves_and_asks_for_another_attempt(
    tmp_path: Path, environment: dict[str, str], code: int
) -> None:
    process = start(tmp_path, "--steps", "100000", "--save-every", "1000000", **environment)
    eventually(lambda: "step " in (tmp_path / "log").read_text(), timeout=60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == code
    step = weights(tmp_path)["step"]
    assert isinstance(step, int)
    assert step > 0
    log = train(tmp_path, "--steps", str(step + 5), **environment)
    assert f"going on from step {step}" in log


def test_it_says_which_gpus_it_was_told(tmp_path: Path) -> None:
    log = train(
        tmp_path, "--steps", "1", CUDA_VISIBLE_DEVICES="2,3", GPUYARD_JOB_ID="aaaaaaaaaaaa", GPUYARD_ATTEMPT="2"
    )
    assert log.startswith("attempt 2 of job aaaaaaaaaaaa; GPUs: 2,3\n")


def test_the_jobs_folder_is_where_the_checkpoint_goes_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUYARD_JOB_DIR", str(tmp_path / "job"))
    assert train_tiny.options([]).dir == tmp_path / "job"


def test_half_a_checkpoint_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text('{"seed": 1, "step": 10')
    log = train(tmp_path, "--steps", "5")
    assert "cannot be used" in log
    assert "at step 0" in log


def test_a_run_of_given_seconds_ends_by_itself(tmp_path: Path) -> None:
    log = train(tmp_path, "--seconds", "0.3")
    assert re.search(r"^step \d+ 100% loss", log, re.MULTILINE)


def test_the_configs_name_files_that_exist() -> None:
    import tomllib

    from gpuyard.actors.model import duration

    folder = SCRIPT.parent / "configs"
    found = sorted(folder.glob("*.toml"))
    assert {path.stem for path in found} >= {"tiny", "tiny-2gpu", "tiny-cpu", "torch"}
    for path in found:
        config = tomllib.loads(path.read_text())
        assert (folder / config["workdir"] / config["command"][1]).is_file(), path
        duration.parse(config["time_limit"])
