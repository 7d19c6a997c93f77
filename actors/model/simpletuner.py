"""A SimpleTuner config (`config.json`, `config.toml`), understood as it is.

How SimpleTuner finds its configuration (its `cli/train.py`, `cli/common.py`, `helpers/configuration/`): `train --env
NAME` looks for `config/NAME/config.json` below the current folder, unless CONFIG_PATH names a file, which then wins
both in the command's own check and in the trainer. Without `--env` the command searches the current folder and
overwrites CONFIG_PATH with what it finds there, so the plain `simpletuner train` gets `--env NAME` here. ENV names the
same environment to `train.sh` and to the trainer, CONFIG_BACKEND spares it a guess, and TRAINING_NUM_PROCESSES is
how many processes `accelerate launch` gets: the command does not read `num_processes` out of the config.
"""

from __future__ import annotations

import posixpath
from typing import Any, Final

import msgspec

from gpuyard.actors.model import bounds
from gpuyard.actors.model.job import JOB_DIR

FORMATS: Final = ("json", "toml")
# Keys that only a SimpleTuner config has; one of them is enough.
SIGNS: Final = frozenset(
    {"model_family", "model_flavour", "model_type", "data_backend_config", "pretrained_model_name_or_path", "lora_type"}
)


class Found(msgspec.Struct, frozen=True):
    """`values` are JobSpec fields; `problems` are (key, text to stand after it)."""

    values: dict[str, Any]
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def looks_like(data: dict[str, Any]) -> bool:
    """Is this a SimpleTuner config rather than a description of ours?"""
    if "command" in data:
        return False
    return any(key.startswith("--") or key in SIGNS for key in data)


def read(data: dict[str, Any], name: str, format: str, launch: tuple[str, ...]) -> Found:
    """The job that runs this config (a file of `format`) under the environment name `name`."""
    plain = {key.lstrip("-"): value for key, value in data.items()}
    problems: list[tuple[str, str]] = []
    warnings: list[str] = []
    values: dict[str, Any] = {"argv": _argv(launch, name)}
    if format not in FORMATS:
        problems.append(("format", f"must be JSON or TOML: SimpleTuner does not read {format.upper()}"))
    for key, field, check in (
        ("num_processes", "num_processes", _count),
        ("accelerate_visible_devices", "device_ids", _devices),
    ):
        if plain.get(key) is not None:
            try:
                values[field] = check(plain[key])
            except ValueError as error:
                problems.append((key, str(error)))
    count, devices = values.get("num_processes", 1), values.get("device_ids", ())
    if len(devices) > 1 and "num_processes" not in values:
        warnings.append(
            f"accelerate_visible_devices names {len(devices)} GPUs but num_processes is not set: one of them is used"
        )
    elif devices and len(devices) < count:
        warnings.append(
            f"accelerate_visible_devices names {len(devices)} GPUs but num_processes is {count}: any GPUs will be used"
        )
    values["env"] = {
        "CONFIG_PATH": f"{JOB_DIR}/config.{format}",
        "CONFIG_BACKEND": format,
        "ENV": name,
        "TRAINING_NUM_PROCESSES": str(max(1, count)),
    }
    run_name = plain.get("tracker_run_name")
    if isinstance(run_name, str) and run_name:
        try:
            values["metadata"] = {"run_name": bounds.text(run_name)}
        except ValueError as error:
            problems.append(("tracker_run_name", str(error)))
    return Found(values, tuple(problems), tuple(warnings))


def _argv(launch: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The launch command; SimpleTuner's own needs the environment's name to look at CONFIG_PATH at all."""
    own = len(launch) == 2 and posixpath.basename(launch[0]) == "simpletuner" and launch[1] == "train"
    return (*launch, "--env", name) if own else launch


def _count(value: object) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
        value = int(value)
    return bounds.whole(value, 0, bounds.MAX_GPUS)


def _devices(value: object) -> tuple[int, ...]:
    """`"0,1"`, `[0, 1]`, `["0", "1"]`, `0`; empty or `all` means any."""
    if isinstance(value, str):
        value = [] if value.strip().lower() in ("", "all", "auto") else value.split(",")
    elif isinstance(value, int):
        value = [value]
    if not isinstance(value, list):
        raise ValueError('must be GPU indices, such as [0, 1] or "0,1"')
    try:
        return bounds.devices([_count(item) for item in value])
    except ValueError:
        raise ValueError('must be GPU indices, such as [0, 1] or "0,1"') from None
