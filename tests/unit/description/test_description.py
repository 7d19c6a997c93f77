"""Config files of gpuyard's own form: strict, with the key named."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model.description import Source, describe, read, validate
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.job import JobSpec, Target

HERE = Source(name="train", folder="/configs", root="/configs")

EXAMPLE = """
command = ["accelerate", "launch", "train.py", "--lr", "1e-4"]
workdir = "."
num_processes = 2
device_ids = [0, 1]
target = "auto"
time_limit = "12h"
max_attempts = 3
estimated_cost = 0.0
[env]
HF_HUB_OFFLINE = "1"
[metadata]
run_name = "sdxl-lora-7"
"""


def test_the_example_of_the_contract_becomes_a_job() -> None:
    spec = JobSpec(**describe(tomllib.loads(EXAMPLE), HERE))
    assert spec == JobSpec(
        argv=("accelerate", "launch", "train.py", "--lr", "1e-4"),
        workdir="/configs",
        num_processes=2,
        device_ids=(0, 1),
        target=Target.AUTO,
        time_limit=43_200.0,
        max_attempts=3,
        estimated_cost=0.0,
        env={"HF_HUB_OFFLINE": "1"},
        metadata={"run_name": "sdxl-lora-7"},
    )
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(spec)), JobSpec) == spec


def test_a_config_without_workdir_runs_beside_its_file() -> None:
    assert describe({"command": ["true"]}, HERE)["workdir"] == "/configs"


@pytest.mark.parametrize(
    ("said", "runs_in"),
    [("/abs", "/abs"), ("sub", "/configs/sub"), ("../other", "/other"), ("./a/../b", "/configs/b")],
)
def test_workdir_is_relative_to_the_file(said: str, runs_in: str) -> None:
    assert describe({"command": ["true"], "workdir": said}, HERE)["workdir"] == runs_in


def test_device_ids_lose_duplicates_and_keep_their_order() -> None:
    assert describe({"command": ["a"], "device_ids": [3, 1, 3, 1]}, HERE)["device_ids"] == (3, 1)


def test_zero_processes_is_a_cpu_job() -> None:
    assert JobSpec(**describe({"command": ["a"], "num_processes": 0}, HERE)).is_cpu


def test_ends_to_retry_are_named_as_ends_are() -> None:
    said = ["oom", "signal:KILL", "signal:SIGKILL", "exit:1"]
    assert describe({"command": ["a"], "retry_on": said}, HERE)["retry_on"] == ("oom", "signal:SIGKILL", "exit:1")


def test_environment_numbers_are_taken_as_text() -> None:
    assert describe({"command": ["a"], "env": {"N": 3, "F": 0.5}}, HERE)["env"] == {"N": "3", "F": "0.5"}


WRONG: list[tuple[str, Any, str]] = [
    ("command", "python train.py", "command must be a list of words"),
    ("command", [], "command must be a list of at least one word"),
    ("command", ["a", "b\0"], "command must not hold a NUL character"),
    ("command", ["", "x"], "command must begin with the name of a program"),
    ("command", ["a", 1], "command must be text"),
    ("num_processes", -1, "num_processes must be from 0 to 1024"),
    ("num_processes", 1025, "num_processes must be from 0 to 1024"),
    ("num_processes", 2**63, "num_processes must be from 0 to 1024"),
    ("num_processes", True, "num_processes must be a whole number"),
    ("num_processes", 1.0, "num_processes must be a whole number"),
    ("device_ids", [0, -1], "device_ids must be from 0 to 1023"),
    ("device_ids", "0,1", "device_ids must be a list"),
    ("estimated_cost", -0.01, "estimated_cost must be from 0"),
    ("estimated_cost", float("nan"), "estimated_cost must be from 0"),
    ("estimated_cost", float("inf"), "estimated_cost must be from 0"),
    ("time_limit", "soon", "time_limit must be a duration"),
    ("target", "moon", "target must be auto, worker, local or cloud"),
    ("target", ["auto"], "target must be auto, worker, local or cloud"),
    ("max_attempts", 0, "max_attempts must be from 1 to 100"),
    ("env", {"A=B": "x"}, "env names must be letters"),
    ("env", {"CUDA_VISIBLE_DEVICES": "7"}, "env must not set CUDA_VISIBLE_DEVICES"),
    ("env", {"GPUYARD_FENCE": "7"}, "env must not set GPUYARD_FENCE"),
    ("env", {"A": "\ud800"}, "env A: must be valid Unicode"),
    ("env", {"A": True}, "env A: must be text"),
    ("metadata", {"a": float("nan")}, "metadata must hold finite numbers"),
    ("metadata", {"a": 2**63}, "metadata must hold whole numbers of at most 64 bits"),
    ("metadata", {"a": "x" * 40_000}, "metadata must be at most"),
    ("metadata", [], "metadata must be a table"),
    ("name", "a\nb", "name must not hold control characters"),
    ("name", "a\u202eb", "name must not hold control characters"),
    ("retry_on", ["exit:1", "rm -rf"], "retry_on must hold only"),
    ("worker_labels", {"": "x"}, "worker_labels label names"),
    ("checkpoint_signal", "SIGKILL", "checkpoint_signal must be the name of a signal"),
    ("partition_policy", "maybe", "partition_policy must be lease or hold"),
    ("not_before", "tomorrow", "not_before must be a time"),
    ("comand", ["a"], "'comand' is not a key of a job description: did you mean command?"),
    ("window", "all night", 'window must be hours such as "22:00-07:00"'),
    ("secrets", "hf", 'secrets must be a list of names, such as ["hf"]'),
    ("secrets", ["../hf"], "secrets holds what is no name of a secret"),
    ("secrets", [f"s{n}" for n in range(17)], "secrets must have at most 16 names"),
    ("files", "train.py", "files must be a list"),
    ("files", ["/etc/passwd"], "files must lie below the config's own folder"),
    ("files", ["lib/../../x"], "files must lie below the config's own folder"),
    ("files", ["."], "files must lie below the config's own folder"),
    ("files", ["x"] * 1_001, "files must have at most 1000 entries"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), WRONG)
def test_what_is_wrong_names_its_key(key: str, value: Any, sentence: str) -> None:
    data = {"command": ["true"], key: value}
    errors, _ = validate(data, HERE)
    assert errors and errors[0].startswith(sentence)
    with pytest.raises(InvalidInput, match="config train: ") as caught:
        describe(data, HERE)
    assert caught.value.data["key"] == key


def test_all_problems_are_listed_at_once() -> None:
    errors, _ = validate({"num_processes": -1, "max_attempts": 0, "oops": 1}, HERE)
    assert len(errors) == 4
    assert errors[0].startswith("command is missing")


def test_deep_metadata_is_refused_without_recursion() -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = {"a": deep}
    errors, _ = validate({"command": ["a"], "metadata": deep}, HERE)
    assert errors == ["metadata must be nested at most 8 deep"]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"num_processes": 2, "device_ids": [0]}, "any GPUs will be used"),
        ({"device_ids": [0], "any_gpu": True}, "device_ids is not looked at"),
        ({"device_ids": [0], "num_processes": 0}, "a CPU job"),
        ({"provider": "replicate", "target": "local"}, "provider is only used with target cloud"),
        ({"worker_labels": {"a": "b"}, "target": "local"}, "only used on workers"),
    ],
)
def test_what_is_allowed_but_odd_is_a_warning(extra: dict[str, Any], words: str) -> None:
    errors, warnings = validate({"command": ["a"], **extra}, HERE)
    assert not errors
    assert any(words in warning for warning in warnings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([key for key, _, _ in WRONG] + ["--num_processes", "model_type", "any_gpu", "lease_seconds"])


@given(st.dictionaries(KEYS | st.text(max_size=12), JSON, max_size=8) | JSON)
def test_any_file_is_described_or_refused(data: Any) -> None:
    found = read(data, HERE)
    if not found.problems:
        spec = JobSpec(**found.values)
        assert msgspec.convert(json.loads(msgspec.json.encode(spec)), JobSpec) == spec
        msgspec.msgpack.encode(spec)
