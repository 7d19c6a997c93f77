"""A job description: what a config file says, as the parts of a JobSpec (CONTRACT "Job description").

Strict, because a misspelt key would otherwise start a job that its author did not ask for. A SimpleTuner config is
recognised and understood as it is (`simpletuner.py`). Nothing is read here: the parsed file comes in, values go out.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gpuyard.actors.model import bounds, duration, secrets, simpletuner
from gpuyard.actors.model.errors import InvalidInput

# How each key is checked and brought into JobSpec's shape; the same functions check the fields of a submit body.
CHECKS: Final[dict[str, Callable[[object], Any]]] = {
    "command": bounds.argv,
    "workdir": bounds.path,
    "env": bounds.env,
    "name": bounds.name,
    "target": bounds.target,
    "provider": bounds.provider,
    "worker_labels": bounds.labels,
    "num_processes": lambda value: bounds.whole(value, 0, bounds.MAX_GPUS),
    "gpu_memory_gb": lambda value: bounds.number(value, 0, bounds.MAX_GPU_MEMORY_GB),
    "device_ids": bounds.devices,
    "any_gpu": bounds.flag,
    "estimated_cost": lambda value: bounds.number(value, 0, bounds.MAX_COST),
    "time_limit": duration.parse,
    "not_before": bounds.moment,
    "window": bounds.window,
    "max_attempts": lambda value: bounds.whole(value, 1, bounds.MAX_ATTEMPTS),
    "retry_on": bounds.retry_on,
    "partition_policy": bounds.partition_policy,
    "lease_seconds": duration.parse,
    "checkpoint_signal": bounds.signal_name,
    "metadata": bounds.metadata,
    "provider_options": bounds.metadata,
    "files": bounds.file_names,
    "secrets": secrets.names,
}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a description was found.

    `name` is the config's, `format` toml, json or yaml, `folder` the absolute folder of its file, `root` the configs
    folder, `launch` the words of the setting `launch_command`.
    """

    name: str
    format: str = "json"
    folder: str = "/"
    root: str = "/"
    launch: tuple[str, ...] = ("simpletuner", "train")


class Problem(msgspec.Struct, frozen=True):
    """`text` is a whole sentence that names the field."""

    field: str
    text: str


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """`values` are JobSpec fields, only those that the file says something about."""

    kind: str
    values: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def read(data: object, source: Source) -> Description:
    """What `data` (a parsed config file) asks for, with everything that is wrong with it."""
    if not isinstance(data, dict):
        return _broken("the file must hold a table of keys and values")
    if not all(isinstance(key, str) for key in data):
        return _broken("the keys of the file must be text")
    if simpletuner.looks_like(data):
        found = simpletuner.read(data, source.name, source.format, source.launch)
        folder = source.root if posixpath.basename(source.root) == "config" else None
        # SimpleTuner's own paths start where its `config` folder lies; elsewhere they start beside the file.
        values = {**found.values, "workdir": posixpath.dirname(folder) if folder else source.folder}
        problems = tuple(Problem(field, f"{field} {text}") for field, text in found.problems)
        return Description(kind="simpletuner", values=values, problems=problems, warnings=found.warnings)
    return _gpuyard(data, source)


def describe(data: object, source: Source) -> dict[str, Any]:
    """The JobSpec fields that `data` sets. Raises InvalidInput naming the first key that is wrong."""
    found = read(data, source)
    if found.problems:
        first = found.problems[0]
        raise InvalidInput(f"config {source.name}: {first.text}", field="config_name", key=first.field)
    return found.values


def validate(data: object, source: Source) -> tuple[list[str], list[str]]:
    """(errors, warnings) as sentences; the config may be submitted when there are no errors."""
    found = read(data, source)
    return [problem.text for problem in found.problems], list(found.warnings)


def _broken(text: str) -> Description:
    return Description(kind="unknown", values={}, problems=(Problem("", text),))


def _gpuyard(data: dict[str, Any], source: Source) -> Description:
    values: dict[str, Any] = {}
    problems = []
    for key, value in data.items():
        try:
            values[key] = _checked(key, value)
        except ValueError as error:
            problems.append(Problem(key[:64], f"{key[:64]!a} {error}" if key not in CHECKS else f"{key} {error}"))
    if "command" not in data:
        problems.insert(0, Problem("command", 'command is missing: say what to run, such as ["python", "train.py"]'))
    warnings = _warnings(values)
    workdir = values.get("workdir", ".")
    if values.get("files") and not posixpath.isabs(workdir):
        # What it brings along lies in the job's own folder, as it lay beside the config.
        values["workdir"] = None
        if posixpath.normpath(workdir) != ".":
            problems.append(Problem("workdir", "workdir must be absolute, or left out, when files are sent along"))
    else:
        values["workdir"] = posixpath.normpath(posixpath.join(source.folder, workdir))
    if "command" in values:
        values["argv"] = values.pop("command")
    return Description(kind="gpuyard", values=values, problems=tuple(problems), warnings=tuple(warnings))


def _checked(key: str, value: object) -> Any:
    if key in CHECKS:
        return CHECKS[key](value)
    near = difflib.get_close_matches(key[:64], CHECKS, n=1)
    raise ValueError("is not a key of a job description" + (f": did you mean {near[0]}?" if near else ""))


def _warnings(values: dict[str, Any]) -> list[str]:
    found = []
    devices, count = values.get("device_ids", ()), values.get("num_processes", 1)
    if devices and len(devices) < count:
        found.append(f"device_ids names {len(devices)} GPUs but num_processes is {count}: any GPUs will be used")
    if devices and values.get("any_gpu"):
        found.append("any_gpu is set, so device_ids is not looked at")
    if devices and count == 0:
        found.append("num_processes is 0, a CPU job: device_ids is not looked at")
    if values.get("provider") and values.get("target") not in (None, "cloud"):
        found.append(f"provider is only used with target cloud, not {values['target']}")
    if values.get("worker_labels") and values.get("target") in ("local", "cloud"):
        found.append(f"worker_labels are only used on workers, not with target {values['target']}")
    return found
