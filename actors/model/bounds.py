"""What a field of a job may hold: one function a kind of value, used for HTTP bodies and config files alike.

Each takes the value as parsed (JSON, TOML, YAML) and returns it in the shape of `JobSpec`. It raises ValueError with
a text that stands after the name of the field ("must be …"). The limits keep a job storable (64-bit numbers, text
that is valid UTF-8) and startable (no NUL, what `execve` takes).
"""

from __future__ import annotations

import math
import posixpath
import re
import signal
from datetime import datetime
from typing import Any, Final

from gpuyard.actors.model import clock, windows
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.sent_file import MOST_FILES

MAX_GPUS: Final = 1_024
MAX_GPU_MEMORY_GB: Final = 10_000
MAX_ARGS: Final = 4_096
MAX_ARG_BYTES: Final = 131_071  # the kernel's MAX_ARG_STRLEN, less the closing NUL
MAX_COMMAND_BYTES: Final = 200_000
MAX_ENV: Final = 256
MAX_ENV_BYTES: Final = 65_536
MAX_LABELS: Final = 32
MAX_METADATA_BYTES: Final = 32_768
MAX_METADATA_DEPTH: Final = 8
MAX_COST: Final = 1e9
MAX_ATTEMPTS: Final = 100
MAX_NAME: Final = 200
MAX_PATH: Final = 4_096
INT64: Final = 2**63

CONFIG_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
PROVIDER: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
ENV_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
WORKER_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
LABEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$"
RETRY_CLASS: Final = r"^(oom|timeout|lost|gpu_fault|requeue|exit:[0-9]{1,3}|signal:[A-Z][A-Z0-9+-]{0,15})$"

# Set by gpuyard for every run (DESIGN 5): a value of one's own would break the promise of separate GPUs.
OUR_ENV: Final = frozenset({"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"})
OUR_ENV_PREFIX: Final = "GPUYARD_"

# C0, C1, line separators and the marks that turn the direction of text: none of them belongs in a line of a log.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def matches(pattern: str, value: str) -> bool:
    """Whole-string match; `$` alone would let a closing newline through."""
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value) is not None


def text(value: object, longest: int = MAX_NAME, *, controls: bool = False) -> str:
    """Text that can be stored and shown: valid UTF-8, no NUL, no control characters unless `controls`."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if len(value) > longest:
        raise ValueError(f"must be at most {longest} characters long")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    if not controls and _CONTROLS.search(value):
        raise ValueError("must not hold control characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (it holds half of a surrogate pair)") from None
    return value


def name(value: object) -> str:
    """A job's display name."""
    found = text(value).strip()
    if not found:
        raise ValueError("must not be empty")
    return found


def path(value: object) -> str:
    found = text(value, MAX_PATH)
    if not found:
        raise ValueError("must not be empty")
    return found


def number(value: object, low: float, high: float) -> float:
    """A finite number within the bounds; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise ValueError(f"must be from {low:g} to {high:g}")
    return float(value)


def whole(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number from {low} to {high}")
    if not low <= value <= high:
        raise ValueError(f"must be from {low} to {high}")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def argv(value: object) -> tuple[str, ...]:
    """A command as a list of words, never a shell line."""
    if isinstance(value, str):
        raise ValueError('must be a list of words, such as ["python", "train.py"], not one line of text')
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be a list of at least one word")
    if len(value) > MAX_ARGS:
        raise ValueError(f"must have at most {MAX_ARGS} words")
    words = tuple(text(word, MAX_ARG_BYTES, controls=True) for word in value)
    sizes = [len(word.encode()) for word in words]
    if max(sizes) > MAX_ARG_BYTES or sum(sizes) > MAX_COMMAND_BYTES:
        raise ValueError(f"must have at most {MAX_COMMAND_BYTES} bytes")
    if not words[0].strip():
        raise ValueError("must begin with the name of a program")
    return words


def file_names(value: object) -> tuple[str, ...]:
    """Files and folders to send along, relative to the config's own folder and below it."""
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list of files and folders, such as ["train.py", "lib"]')
    if len(value) > MOST_FILES:
        raise ValueError(f"must have at most {MOST_FILES} entries")
    names = []
    for item in value:
        name = posixpath.normpath(text(item, MAX_PATH))
        if name.startswith(("/", "../")) or name in (".", ".."):
            raise ValueError(f"must lie below the config's own folder, not {item!r}")
        names.append(name)
    return tuple(dict.fromkeys(names))


def env(value: object) -> dict[str, str]:
    """Environment variables; numbers are taken as their text."""
    if not isinstance(value, dict):
        raise ValueError("must be a table of names and values")
    if len(value) > MAX_ENV:
        raise ValueError(f"must have at most {MAX_ENV} variables")
    found = {}
    for key, content in value.items():
        if not isinstance(key, str) or not matches(ENV_NAME, key):
            raise ValueError("names must be letters, digits and underscores, and not begin with a digit")
        if key in OUR_ENV or key.startswith(OUR_ENV_PREFIX):
            raise ValueError(f"must not set {key}: gpuyard sets it to the GPUs the job was given (see device_ids)")
        if isinstance(content, int | float) and not isinstance(content, bool):
            content = str(content)
        try:
            found[key] = text(content, MAX_ARG_BYTES, controls=True)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    if sum(len(key) + len(content.encode()) for key, content in found.items()) > MAX_ENV_BYTES:
        raise ValueError(f"must have at most {MAX_ENV_BYTES} bytes in all")
    return found


def labels(value: object) -> dict[str, str]:
    """Labels that a worker must have: name → glob."""
    if not isinstance(value, dict):
        raise ValueError("must be a table of label names and patterns")
    if len(value) > MAX_LABELS:
        raise ValueError(f"must have at most {MAX_LABELS} labels")
    found = {}
    for key, pattern in value.items():
        if not isinstance(key, str) or not matches(LABEL_NAME, key):
            raise ValueError("label names must be letters, digits, dots, dashes, slashes and underscores")
        found[key] = text(pattern, 128)
    return found


def worker_name(value: object) -> str:
    if not isinstance(value, str) or not matches(WORKER_NAME, value):
        raise ValueError(
            "must begin with a letter or digit, then at most 63 letters, digits, dots, dashes, underscores"
        )
    return value


def devices(value: object) -> tuple[int, ...]:
    """GPU indices in the order given, without duplicates."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of GPU indices, such as [0, 1]")
    if len(value) > MAX_GPUS:
        raise ValueError(f"must have at most {MAX_GPUS} indices")
    return tuple(dict.fromkeys(whole(index, 0, MAX_GPUS - 1) for index in value))


def target(value: object) -> Target:
    if not isinstance(value, str) or value not in {*Target}:
        raise ValueError("must be auto, worker, local or cloud")
    return Target(value)


def provider(value: object) -> str:
    if not isinstance(value, str) or not matches(PROVIDER, value):
        raise ValueError("must be a provider's name in lower case")
    return value


def retry_on(value: object) -> tuple[str, ...]:
    """Classes of ends that are tried again, as ends are named: `signal:KILL` becomes `signal:SIGKILL`."""
    if not isinstance(value, list | tuple) or len(value) > 32:
        raise ValueError('must be a list such as ["oom", "exit:1"]')
    for item in value:
        if not isinstance(item, str) or not matches(RETRY_CLASS, item):
            raise ValueError('must hold only oom, timeout, lost, gpu_fault, requeue, "exit:N" and "signal:NAME"')
    return tuple(dict.fromkeys(re.sub("^signal:(SIG)?", "signal:SIG", item) if ":" in item else item for item in value))


def partition_policy(value: object) -> str:
    if value not in ("lease", "hold"):
        raise ValueError("must be lease or hold")
    return str(value)


def signal_name(value: object) -> str:
    """A signal by its name, `SIGUSR1` or `USR1`; answered with SIG."""
    found = "SIG" + text(value, 20).upper().removeprefix("SIG")
    if found not in signal.Signals.__members__ or found in ("SIGKILL", "SIGSTOP"):
        raise ValueError("must be the name of a signal that a program can take, such as SIGUSR1")
    return found


def moment(value: object) -> float:
    """A time: ISO-8601 (UTC when it names no offset) or epoch seconds. Answers epoch seconds."""
    if isinstance(value, datetime):  # TOML has times of its own
        value = value.isoformat()
    if isinstance(value, str):
        try:
            value = clock.epoch(text(value, 64))
        except (ValueError, OverflowError):
            raise ValueError("must be a time such as 2026-11-22T02:05:00Z") from None
    return number(value, 0, 32_503_680_000)  # the year 3000


def window(value: object) -> windows.Window:
    """The hours in which a job may start; its zone is looked up where it is known which there are."""
    return windows.parse(value)


def metadata(value: object) -> dict[str, Any]:
    """Whatever the user wants to find again, as JSON of bounded size and depth."""
    if not isinstance(value, dict):
        raise ValueError("must be a table")
    if _weight(value, 0) > MAX_METADATA_BYTES:
        raise ValueError(f"must have at most about {MAX_METADATA_BYTES} bytes")
    return value


def _weight(value: object, depth: int) -> int:
    """About how many bytes `value` has as JSON. Raises ValueError for what cannot be stored."""
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"must be nested at most {MAX_METADATA_DEPTH} deep")
    match value:
        case None | bool():
            return 5
        case int():
            if not -INT64 <= value < INT64:
                raise ValueError("must hold whole numbers of at most 64 bits")
            return 20
        case float():
            if not math.isfinite(value):
                raise ValueError("must hold finite numbers only")
            return 20
        case str():
            return len(text(value, MAX_METADATA_BYTES, controls=True).encode()) + 2
        case list() | tuple():
            return 2 + sum(_weight(item, depth + 1) for item in value)
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise ValueError("must have text as names")
            return 2 + sum(_weight(key, depth) + _weight(item, depth + 1) for key, item in value.items())
        case _:
            raise ValueError(f"must hold JSON values, not {type(value).__name__}")
