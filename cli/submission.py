"""What `jobs submit` and `run` share: their options, the body they make of them, and what the answer means."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from gpuyard.actors.model import duration
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client
from gpuyard.cli.jobs import reason_lines
from gpuyard.cli.options import SPAN
from gpuyard.cli.terminal import say
from gpuyard.cli.text import clean

F = TypeVar("F", bound=Callable[..., Any])
Body = dict[str, Any]
Answer = dict[str, Any]

LEVELS = {"low": 0, "normal": 10, "high": 20, "urgent": 30, "critical": 40}


class Priority(click.ParamType[int]):
    """0 to 50, or low, normal, high, urgent, critical."""

    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = LEVELS.get(value, value)
        if isinstance(found, str) and found.isascii() and found.isdecimal():
            found = int(found)
        if isinstance(found, int) and 0 <= found <= 50:
            return found
        raise click.BadParameter(f"{value!r} is not 0 to 50 or one of {', '.join(LEVELS)}", ctx, param)


class Devices(click.ParamType[list[int]]):
    """`0,1`: indices of GPUs."""

    name = "devices"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts or not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not a list of GPU indices such as 0,1", param, ctx)
        return [int(part) for part in parts]


class Moment(click.ParamType[str]):
    """A time of the local zone (`22:00`, `2026-11-22 22:00`), with an offset, or from now (`+2h`); ISO-8601 inside."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return moment(str(value), time.time())
        except ValueError:
            self.fail(f"{value!r} is not a time such as 22:00, 2026-11-22T22:00, or +2h from now", param, ctx)


def moment(text: str, now: float) -> str:
    """ISO-8601 UTC of what a person writes as a time. Raises ValueError.

    A time of day is the next one; a date without an offset is of the local zone.
    """
    text = text.strip()
    if text.startswith("+"):
        at = now + duration.parse(text[1:])
    elif len(text) <= 5 and ":" in text:
        clock = datetime.strptime(text, "%H:%M")
        day = datetime.fromtimestamp(now).replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
        at = day.timestamp() if day.timestamp() > now else _tomorrow(day)
    else:
        at = datetime.fromisoformat(text).timestamp()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _tomorrow(day: datetime) -> float:
    """The same wall-clock time a day later, also where the clocks change in between."""
    return datetime.fromordinal(day.toordinal() + 1).replace(hour=day.hour, minute=day.minute).timestamp()


_OPTIONS = (
    click.option("--no-wait", is_flag=True, help="Refuse (exit code 7) when it cannot start now."),
    click.option("--any-gpu", is_flag=True, help="Take any GPUs instead of the config's device_ids."),
    click.option("--target", type=click.Choice(["auto", "worker", "local", "cloud"]), help="Where it may run."),
    click.option("--provider", metavar="NAME", help="The cloud provider; the target is cloud then."),
    click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="For the provider, such as hardware=a100; a value may be JSON. Repeat it for more.",
    ),
    click.option(
        "--worker-label",
        "worker_labels",
        multiple=True,
        metavar="KEY=GLOB",
        help="Only workers with this label; repeat it for more.",
    ),
    click.option(
        "--gpus",
        "--num-processes",
        "num_processes",
        type=click.IntRange(0, 1024),
        metavar="N",
        help="So many GPUs; 0 is a CPU job.",
    ),
    click.option(
        "--gpu-memory",
        "gpu_memory_gb",
        type=click.FloatRange(0, 10_000),
        metavar="GB",
        help="At least so much on each.",
    ),
    click.option("--device-ids", type=Devices(), metavar="N,N", help="Prefer these of the server's GPUs, and wait."),
    click.option("--name", metavar="NAME", help="A name to find it again."),
    click.option("--priority", "priority_override", type=Priority(), metavar="P", help="0 to 50, or low…critical."),
    click.option("--team", "team_id", metavar="TEAM", help="On behalf of this team."),
    click.option(
        "--env",
        multiple=True,
        metavar="KEY[=VALUE]",
        help="A variable for the job; without a value its present one. Nothing else of your environment is passed.",
    ),
    click.option(
        "--secret", "secrets", multiple=True, metavar="NAME", help="A secret of yours for the job; repeat it for more."
    ),
    click.option("--time-limit", type=SPAN, metavar="TIME", help="Stop it after so long: 12h, 90m, 1h30m."),
    click.option("--not-before", type=Moment(), metavar="WHEN", help="Start no earlier: 22:00, +2h, 2026-11-22T22:00."),
    click.option(
        "--window",
        metavar="HOURS",
        help="Start only in these hours: 22:00-07:00, with a zone behind it where it is not the server's.",
    ),
    click.option(
        "--max-attempts", type=click.IntRange(1, 100), metavar="N", help="How often it may be started.  [default: 3]"
    ),
    click.option(
        "--partition-policy",
        type=click.Choice(["lease", "hold"]),
        help="On a worker that falls silent: stop it when its lease ends and try elsewhere, or leave it alone.",
    ),
    click.option(
        "--lease-seconds", type=SPAN, metavar="TIME", help="How long it may live on a worker without contact: 30m."
    ),
    click.option("--checkpoint-signal", metavar="NAME", help="Sent at two thirds of a lapsing lease, such as SIGUSR1."),
    click.option("--retry-on", multiple=True, metavar="CLASS", help="Also retry after this end: oom, exit:1, …"),
    click.option("--cost", "estimated_cost", type=click.FloatRange(0), metavar="USD", help="The cost you expect."),
    click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Something to find it by; repeat it for more."),
    click.option("--requires-approval", is_flag=True, help="Start it only after somebody approved it."),
    click.option("--for-approval", is_flag=True, help="Ask for approval instead of refusing what a rule forbids."),
    click.option(
        "--idempotency-key", metavar="KEY", help="The same key and job submitted twice within a day is one job."
    ),
)


def submit_options(verb: F) -> F:
    """The flags that describe a job; they arrive as keywords for `body_of`."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def body_of(config: str | None, command: Sequence[str], given: dict[str, Any]) -> Body:
    """The request's body: only what was given, so that a config's own values and the server's defaults stand.

    A command runs in the current folder. Raises a usage error.
    """
    body: Body = {"config_name": config} if config is not None else {"command": list(command), "workdir": _folder()}
    body["worker_labels"] = pairs(given.pop("worker_labels"), "--worker-label")
    body["env"] = pairs(given.pop("env"), "--env", from_environment=True)
    body["metadata"] = pairs(given.pop("metadata"), "--metadata")
    options = pairs(given.pop("provider_options"), "--provider-option")
    body["provider_options"] = {key: _value(text) for key, text in options.items()}
    if given.get("provider") and given.get("target") is None:
        given["target"] = "cloud"
    body["secrets"] = list(given.pop("secrets"))
    body["retry_on"] = [part for value in given.pop("retry_on") for part in value.split(",")]
    body.update(given)
    return {
        name: value
        for name, value in body.items()
        if value is not None and value is not False and value not in ({}, [])
    }


def pairs(values: Sequence[str], flag: str, *, from_environment: bool = False) -> dict[str, str]:
    """`KEY=VALUE` words as a dictionary. Raises a usage error."""
    found = {}
    for value in values:
        key, equals, content = value.partition("=")
        if not key or (not equals and not from_environment):
            raise click.UsageError(f"{flag} wants KEY=VALUE, not {value!r}.")
        if not equals:
            if key not in os.environ:
                raise click.UsageError(f"{flag} {key}: there is no such variable here; give {key}=VALUE.")
            content = os.environ[key]
        found[key] = content
    return found


def _value(text: str) -> Any:
    """JSON where it is JSON (a number, a list, a table), else the text itself."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        raise Failure("the current folder is gone", do="cd to one that exists", exit_code=ExitCode.USAGE) from None


def send(client: Client, body: Body, key: str | None) -> Answer:
    """Submit, safely repeated when the connection breaks: without a key of the user's the request gets its own."""
    if key is None and not body.get("dry_run"):
        import secrets

        key = secrets.token_hex(16)
    answer: Answer = client.post("/api/queue/submit", body, what="the job was not accepted", key=key or "")
    return answer


def refusal(answer: Answer) -> Failure | None:
    """The failure that a refused submit stands for."""
    if answer.get("success"):
        return None
    code = ExitCode.NO_CAPACITY if answer.get("error") == "no_capacity" else ExitCode.REFUSED
    do = "leave out --no-wait to let it wait" if code is ExitCode.NO_CAPACITY else ""
    if answer.get("error") == "approval_required":
        do = "leave out --no-wait, or add --for-approval to ask for it"
    return Failure("the job was not accepted", str(answer.get("reason") or answer.get("error") or ""), do, code)


def sentence(answer: Answer, *, predicted: bool = False) -> str:
    """The answer in one line: `k3j5… running on GPUs 0,1`, `k3j5… queued, number 3: why`."""
    status = str(answer.get("status") or "known already")
    gpus = answer.get("allocated_gpus")
    words = [str(answer.get("job_id") or "")] if not predicted else ["would be"]
    words.append(status)
    if gpus:
        words.append(f"on GPU{'s' if len(gpus) > 1 else ''} {','.join(str(index) for index in gpus)}")
    if answer.get("allocated_worker_id"):
        words.append(f"on worker {answer['allocated_worker_id']}")
    line = " ".join(words)
    if answer.get("queue_position"):
        line += f", number {answer['queue_position']}"
    if answer.get("estimated_cost"):
        line += f", about {answer['estimated_cost']:.2f} USD"
    if answer.get("reason"):
        line += f": {answer['reason']}"
    return clean(line)


def tell_reasons(answer: Answer) -> None:
    """On stderr what would let it start, when the answer says so."""
    for line in reason_lines(answer.get("reasons") or [])[1:]:
        say(f"  {line}")
