"""Field types of request bodies: the checks of `model/bounds.py` as pydantic types with an OpenAPI schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from gpuyard.actors.model import bounds, windows
from gpuyard.actors.model.description import CHECKS
from gpuyard.api import zones


class Strict(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


def rule(check: Callable[[object], Any], schema: Any) -> PlainValidator:
    """The annotation of a field whose values pass `check`; `schema` is the Python type that OpenAPI shows."""

    def validate(value: object) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise PydanticCustomError("not_allowed", "{text}", {"text": str(error)}) from None

    return PlainValidator(validate, json_schema_input_type=schema)


def checked(check: Callable[[object], Any], schema: Any, **extra: Any) -> Any:
    """A type whose values pass `check`."""
    return Annotated[Any, rule(check, schema), Field(**extra)]


def _key(name: str, schema: Any, **extra: Any) -> Any:
    """The field that a config file may also hold under `name`."""
    return checked(CHECKS[name], schema, **extra)


def config_name(value: object) -> str:
    if not isinstance(value, str) or not bounds.matches(bounds.CONFIG_NAME, value):
        raise ValueError(
            "must begin with a letter or digit, then at most 127 letters, digits, dots, dashes, underscores"
        )
    return value


def folder(value: object) -> str:
    found = bounds.path(value)
    if not found.startswith("/"):
        raise ValueError("must be an absolute path: the server does not know which folder you are in")
    return found


def team(value: object) -> str:
    found = bounds.text(value, 64)
    if not found:
        raise ValueError("must not be empty")
    return found


def window(value: object) -> windows.Window:
    return zones.known(bounds.window(value))


Command = _key("command", list[str], description="The program and its arguments, a list; no shell is involved.")
WorkDir = checked(folder, str, description="Absolute folder to run in; without it a command runs in the job's own.")
Env = _key("env", dict[str, str], description="Environment variables, added to those of gpuyard.")
Name = _key("name", str, description="A name for people.")
Target = _key("target", str, json_schema_extra={"enum": ["auto", "worker", "local", "cloud"]})
Provider = _key("provider", str, description="The cloud provider, for target cloud.")
Labels = _key("worker_labels", dict[str, str], description="Labels that a worker must have; values may be globs.")
Count = _key("num_processes", int, description="GPUs; 0 = a CPU job.", json_schema_extra={"minimum": 0})
GpuMemory = _key("gpu_memory_gb", float, description="Memory that each GPU must have, in 10^9 bytes.")
Devices = _key("device_ids", list[int], description="Preferred GPU indices, of the server's own GPUs.")
Cost = _key("estimated_cost", float, description="USD.", json_schema_extra={"minimum": 0})
Duration = _key("time_limit", float | str, description="Seconds, or text such as 12h, 90m, 1h30m.")
Lease = _key("lease_seconds", float | str, description="Seconds without contact after which a worker stops the run.")
Moment = _key("not_before", float | str, description="ISO-8601 time or epoch seconds.")
Window = checked(
    window,
    str,
    description='Hours of the day in which it may start, "22:00-07:00" or "22:00-07:00 Europe/Berlin"; without a zone'
    " those of the server. A run that goes on when they end is left alone.",
)
Attempts = _key("max_attempts", int, json_schema_extra={"minimum": 1, "maximum": bounds.MAX_ATTEMPTS})
RetryOn = _key("retry_on", list[str], description="Ends that are tried again: oom, timeout, exit:N, signal:NAME …")
Partition = _key("partition_policy", str, json_schema_extra={"enum": ["lease", "hold"]})
Signal = _key("checkpoint_signal", str, description="Sent at two thirds of a lapsing lease, e.g. SIGUSR1.")
ProviderOptions = _key(
    "provider_options", dict[str, Any], description="For the cloud provider: hardware, and what it alone understands."
)
Secrets = _key(
    "secrets", list[str], description="Names of your secrets (`/api/secrets`) that the run gets as variables."
)
Metadata = _key("metadata", dict[str, Any], description="Anything you want to find again.")
ConfigName = checked(config_name, str, description="A config of the configs folder.")
Team = checked(team, str, description="Your own team; an admin may name any.")
Override = checked(
    lambda value: bounds.whole(value, 0, 50),
    int,
    description="40 to 50 are for admins.",
    json_schema_extra={"minimum": 0, "maximum": 50},
)
JobId = checked(lambda value: bounds.text(value, 64), str)
