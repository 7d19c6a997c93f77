"""SimpleTuner configs are understood as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model.description import Source, describe, read, validate

EXAMPLE = Path(__file__).parents[3] / "tools" / "examples" / "simpletuner" / "config.json"
PROJECT = Source(name="my-lora", folder="/home/me/SimpleTuner/config/my-lora", root="/home/me/SimpleTuner/config")


def example(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return data | changes


def test_the_example_runs_on_the_gpus_it_names() -> None:
    values = describe(example(), PROJECT)
    assert values["num_processes"] == 2
    assert values["device_ids"] == (0, 1)
    assert values["metadata"] == {"run_name": "example-training-run"}


def test_keys_without_dashes_say_the_same() -> None:
    plain = {key.lstrip("-"): value for key, value in example().items()}
    assert describe(plain, PROJECT) == describe(example(), PROJECT)


def test_simpletuner_train_is_told_where_its_config_is() -> None:
    values = describe(example(), PROJECT)
    assert values["argv"] == ("simpletuner", "train", "--env", "my-lora")
    assert values["env"] == {
        "CONFIG_PATH": "${GPUYARD_JOB_DIR}/config.json",
        "CONFIG_BACKEND": "json",
        "ENV": "my-lora",
        "TRAINING_NUM_PROCESSES": "2",
    }


def test_the_launch_command_of_the_settings_is_taken_as_it_is() -> None:
    source = Source(name="my-lora", folder="/c", root="/c", launch=("python", "-m", "my_trainer"))
    assert describe(example(), source)["argv"] == ("python", "-m", "my_trainer")


def test_relative_paths_start_where_simpletuners_config_folder_lies() -> None:
    assert describe(example(), PROJECT)["workdir"] == "/home/me/SimpleTuner"
    elsewhere = Source(name="a", folder="/srv/configs/a", root="/srv/configs")
    assert describe(example(), elsewhere)["workdir"] == "/srv/configs/a"


@pytest.mark.parametrize(
    ("given", "devices"),
    [("0,1", (0, 1)), ([2, 3], (2, 3)), (["1", "0"], (1, 0)), (3, (3,)), (" 0 , 0 ", (0,)), ("", ()), ("all", ())],
)
def test_visible_devices_in_every_spelling(given: Any, devices: tuple[int, ...]) -> None:
    values = describe(example(**{"--accelerate_visible_devices": given}), PROJECT)
    assert values["device_ids"] == devices


@pytest.mark.parametrize(("given", "count"), [(4, 4), ("4", 4), (1, 1)])
def test_num_processes_as_number_or_text(given: Any, count: int) -> None:
    assert describe(example(**{"--num_processes": given}), PROJECT)["num_processes"] == count


def test_without_num_processes_one_gpu_is_used_and_said() -> None:
    data = example()
    del data["--num_processes"]
    found = read(data, PROJECT)
    assert "num_processes" not in found.values
    assert found.values["env"]["TRAINING_NUM_PROCESSES"] == "1"
    assert "one of them is used" in found.warnings[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_processes", "many"),
        ("num_processes", -1),
        ("num_processes", True),
        ("num_processes", 10**20),
        ("accelerate_visible_devices", "0;1"),
        ("accelerate_visible_devices", {"a": 1}),
        ("accelerate_visible_devices", [0, "x"]),
        ("tracker_run_name", "a\nb"),
    ],
)
def test_what_is_wrong_names_the_key(key: str, value: Any) -> None:
    errors, _ = validate(example(**{f"--{key}": value}), PROJECT)
    assert len(errors) == 1
    assert errors[0].startswith(f"{key} must ")


def test_a_toml_config_is_read_by_simpletuners_toml_reader() -> None:
    source = Source(name="a", format="toml", folder="/c", root="/c")
    env = describe(example(), source)["env"]
    assert env["CONFIG_PATH"].endswith("/config.toml")
    assert env["CONFIG_BACKEND"] == "toml"


def test_yaml_is_refused_because_simpletuner_does_not_read_it() -> None:
    errors, _ = validate(example(), Source(name="a", format="yaml", folder="/c", root="/c"))
    assert "does not read YAML" in errors[0]


def test_a_description_with_a_command_is_never_taken_for_simpletuners() -> None:
    errors, _ = validate({"command": ["a"], "model_type": "lora"}, PROJECT)
    assert errors == ["'model_type' is not a key of a job description"]
