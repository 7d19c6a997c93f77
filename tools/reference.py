"""REFERENCE.md, made from the code itself.

python tools/reference.py          # write it
python tools/reference.py --check  # is it up to date?
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gpuyard.actors.base import Directory
from gpuyard.actors.keeper.environment import VARIABLES
from gpuyard.actors.model import reasons, story
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.errors import STATUS
from gpuyard.api.permissions import RULES
from gpuyard.api.settings import Settings
from gpuyard.cli import exits
from gpuyard.cli.lazy import Family
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.registry import ROOT
from gpuyard.cli.settings import ENV_PREFIX, ServerSettings
from gpuyard.cli.worker_settings import WorkerSettings

FILE = Path(__file__).parents[1] / "REFERENCE.md"
FIRST, SECOND = "/api/jobs", "/api/cloud/jobs"
Lines = Iterator[str]


def reference() -> str:
    """The whole page."""
    document = create_app(LocalCore(Directory()), Settings()).openapi()
    parts = [
        ["# Reference", "", "Made by `tools/reference.py` from the code; a test keeps it true."],
        ["## Command line", *commands()],
        ["## Exit codes", "", *table(("code", "meaning"), exit_codes())],
        ["## Routes", *routes(document)],
        ["## Settings", *settings()],
        ["## Environment of a run", "", *table(("variable", "value"), code(VARIABLES))],
        ["## Why a job waits", "", *table(("reason", "meaning"), code(reasons.MEANINGS))],
        ["## How an attempt ends", "", *table(("class", "meaning"), code(story.ENDS))],
        ["## Events", *events()],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"


def code(meanings: dict[Any, str]) -> Iterator[tuple[str, str]]:
    return ((f"`{name!s}`", meaning) for name, meaning in meanings.items())


# --- the command line ---


def commands() -> Lines:
    probe = click.command("gpuyard")(output_options(client_options(lambda **_: None)))
    yield ""
    yield "Every verb that asks the server takes the last two of these, every one that prints data all; all of them may"
    yield "stand before the verb too."
    yield ""
    yield from table(("option", "meaning"), options(probe))
    shared = {parameter.name for parameter in probe.params}
    for path, command in verbs(ROOT):
        yield from ["", f"### `{path}`", "", *described(command, path), *own_options(command, shared)]


def verbs(family: Family, path: str = "gpuyard") -> Iterator[tuple[str, click.Command]]:
    for name, found in family.verbs.items():
        if isinstance(found, Family):
            yield from verbs(found, f"{path} {name}")
        else:
            yield from with_own_verbs(f"{path} {name}", found.load())


def with_own_verbs(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from with_own_verbs(f"{path} {name}", inner)


def described(command: click.Command, path: str) -> Lines:
    arguments = [p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)]
    yield f"`{' '.join([path, *arguments])}`"
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        as_it_is = block.startswith("\b")
        text = block.removeprefix("\b").strip("\n")
        yield from ["", *(["```text", inspect.cleandoc(text), "```"] if as_it_is else text.split("\n"))]


def own_options(command: click.Command, shared: set[str | None]) -> Lines:
    own = click.Command("own", params=[each for each in command.params if each.name not in shared])
    rows = list(options(own))
    if rows:
        yield from ["", *table(("option", "meaning"), rows)]


def options(command: click.Command) -> Iterator[tuple[str, str]]:
    context = click.Context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            yield f"`{record[0]}`", record[1]


def exit_codes() -> Iterator[tuple[str, str]]:
    return ((str(int(number)), meaning) for number, meaning in exits.MEANINGS.items())


# --- HTTP ---


def routes(document: dict[str, Any]) -> Lines:
    yield ""
    yield "With examples and the shape of each answer at `/openapi.json`; `{…}` in a path is a parameter. Every route"
    yield f"of `{FIRST}` is also there as `{SECOND}`."
    yield ""
    yield from table(("route", "for", "what it does", "parameters"), map(route, operations(document)))
    for name, schema in bodies(document):
        yield from ["", f"### {name}", "", schema.get("description", ""), ""]
        required = set(schema.get("required", ()))
        yield from table(("field", "value", "meaning"), fields(schema["properties"], required))
    yield from ["", "### Errors", "", "`{detail, code, request_id}`, and for 422 `errors: [{field, message}]`.", ""]
    by_status: dict[int, list[str]] = {}
    for name, status in STATUS.items():
        by_status.setdefault(status, []).append(f"`{name}`")
    yield from table(("status", "codes"), ((str(status), " ".join(names)) for status, names in by_status.items()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """All but those that are only the second name of another."""
    for path, methods in document["paths"].items():
        if path.startswith(SECOND) and FIRST + path.removeprefix(SECOND) in document["paths"]:
            continue
        for method, about in methods.items():
            yield method.upper(), path, about


def route(operation: tuple[str, str, dict[str, Any]]) -> tuple[str, str, str, str]:
    method, path, about = operation
    asked = [
        f"`{each['name']}`" + (f" {bounds(each['schema'])}".rstrip())
        for each in about.get("parameters", ())
        if each["in"] != "path"
    ]
    if "requestBody" in about:
        asked.append("a body")
    return f"`{method} {path}`", str(RULES[method, path]), first_paragraph(about["description"]), "; ".join(asked)


def first_paragraph(text: str) -> str:
    return text.split("\n\n")[0]


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each kind of body once, with the routes that take it."""
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for method, path, about in operations(document):
        if "requestBody" not in about:
            continue
        schema = about["requestBody"]["content"]["application/json"]["schema"]
        schema = next(each for each in choices(schema) if each.get("type") != "null")
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        found.setdefault(schema["title"], ([], schema))[0].append(f"`{method} {path}`")
    for title, (paths, schema) in found.items():
        yield f"{title}: {', '.join(paths)}", schema


def fields(properties: dict[str, Any], required: set[str]) -> Iterator[tuple[str, str, str]]:
    for name, schema in properties.items():
        meaning = " ".join(each["description"] for each in choices(schema) if "description" in each)
        yield f"`{name}`", bounds(schema) + (", required" if name in required else ""), meaning


def choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return found


def bounds(schema: dict[str, Any]) -> str:
    """A value's type and limits in a few words: `integer 1..200, default 50`."""
    words = []
    for each in choices(schema):
        if each.get("type") == "null":
            continue
        text = " or ".join(map(str, each["enum"])) if "enum" in each else kind(each)
        low, high = each.get("minimum"), each.get("maximum")
        if low is not None or high is not None:
            text += f" {'' if low is None else format(low, 'g')}..{'' if high is None else format(high, '.12g')}"
        words.append(text)
    default = schema.get("default")
    return " or ".join(dict.fromkeys(words)) + (f", default {default}" if default not in (None, "") else "")


def kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


# --- the server's settings, events ---


def settings() -> Lines:
    yield ""
    yield "A setting is a flag of `gpuyard server` where it has one, a variable of the environment, or a line of the"
    yield "TOML file (`name = value`), in this order; `gpuyard config show` says where each came from."
    yield ""
    yield from table(("variable", "default", "meaning"), map(setting, ServerSettings.model_fields.items()))
    yield from [
        "",
        "`gpuyard worker` reads those of them that concern GPUs, runs and beats, and has these of its own:",
        "",
    ]
    own = {
        name: field for name, field in WorkerSettings.model_fields.items() if name not in ServerSettings.model_fields
    }
    yield from table(("variable", "default", "meaning"), map(setting, own.items()))


def setting(item: tuple[str, Any]) -> tuple[str, str, str]:
    name, field = item
    default = "the platform's user data folder" if field.default_factory else shown(field.default)
    return f"`{ENV_PREFIX}{name.upper()}`", default, field.description or ""


def shown(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return f"`{' '.join(value) if isinstance(value, tuple) else value}`"


def events() -> Lines:
    yield ""
    yield "`gpuyard jobs events`, `GET /api/jobs/{job_id}/events` and the stream `GET /api/events` tell them. The"
    yield "stream also says `queue_changed` (positions moved) and `resync` (too much was missed: load the state again)."
    yield ""
    yield from table(("kind", "meaning"), code(story.EVENTS))


def main() -> int:
    text = reference()
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text("utf-8") == text else 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
