"""The text of a config file → plain JSON-able data, whatever the file holds.

Raises ValueError with a sentence for a person. Bounded: depth, number sizes, no YAML aliases (a kilobyte of them
can stand for gigabytes).
"""

from __future__ import annotations

import json
import math
import tomllib
from datetime import date, time
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 32
INT64: Final = 2**63

# The C loader reads a full-size file in milliseconds, the Python one in seconds.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, format: str) -> dict[str, Any]:
    """`format` is toml, json or yaml."""
    try:
        match format:
            case "toml":
                data: Any = tomllib.loads(text)
            case "json":
                data = json.loads(text)
            case _:
                data = _yaml(text)
        found = _plain(data, 0)
    except RecursionError:
        raise ValueError("the file is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(
            f"the file is not valid YAML: {getattr(error, 'problem', None) or 'unreadable'}{where}"
        ) from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"the file is not valid {format.upper()}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the file must hold a table of keys and values")
    return found


def _yaml(text: str) -> Any:
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML aliases (*name) are not read: write the value out")
    return yaml.load(text, Loader=_Loader)


def _plain(value: Any, depth: int) -> Any:
    """`value` with text keys, ISO times and numbers that every reader can take."""
    if depth > MAX_DEPTH:
        raise ValueError("the file is nested too deeply")
    match value:
        case None | bool():
            return value
        case int():
            if not -INT64 <= value < INT64:
                raise ValueError("the file holds a whole number of more than 64 bits")
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError("the file holds a number that is not finite")
            return value
        case str():
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise ValueError("the file holds text that is not valid Unicode")
            return value
        case date() | time():
            return value.isoformat()
        case list() | tuple() | set():
            return [_plain(item, depth + 1) for item in value]
        case dict():
            return {_plain(str(key), depth): _plain(item, depth + 1) for key, item in value.items()}
        case _:
            raise ValueError(f"the file holds a value of the kind {type(value).__name__}, which no config needs")
