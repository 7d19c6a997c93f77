"""Options that many verbs share, each defined once. All may stand before the verb too (see `cli/lazy.py`)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

# Imported where they are used: `gpuyard --help` needs the options, but neither HTTP nor JSON.
if TYPE_CHECKING:
    from gpuyard.cli.http import Client
    from gpuyard.cli.output import Format

F = TypeVar("F", bound=Callable[..., Any])

FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv")
STATUSES = ("blocked", "pending", "queued", "running", "completed", "failed", "cancelled")


def _split(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated options and comma lists as one tuple, without doubles."""
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    return tuple(dict.fromkeys(found))


def _statuses(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    found = _split(ctx, param, values)
    for each in found:
        if each not in STATUSES:
            raise click.BadParameter(f"{each!r} is no status; there are {', '.join(STATUSES)}", ctx, param)
    return found


class Span(click.ParamType[float]):
    """A length of time: `90`, `15m`, `12h`, `1h30m`; seconds inside."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from gpuyard.actors.model import duration

        try:
            return duration.parse(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


SHARED: dict[str, Callable[[F], F]] = {
    "server": click.option(
        "--server", metavar="URL", help="The server's address.  [GPUYARD_SERVER; default: http://127.0.0.1:8000]"
    ),
    "token_file": click.option(
        "--token-file",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Read the token from FILE.  [or the token itself in GPUYARD_TOKEN, or `gpuyard login`]",
    ),
    "cacert": click.option(
        "--cacert",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Who may vouch for an https server (PEM) instead of the system's authorities.  [GPUYARD_CACERT]",
    ),
    "format": click.option(
        "--format",
        "format",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to write the answer.",
    ),
    "fields": click.option(
        "-o",
        "--output",
        "fields",
        multiple=True,
        callback=_split,
        metavar="FIELDS",
        help="Only these fields: a comma list; dots lead into nested ones (metadata.run_name).",
    ),
    "limit": click.option(
        "-l", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="At most N."
    ),
    "status": click.option(
        "--status",
        multiple=True,
        callback=_statuses,
        metavar="STATUS",
        help=f"Only these ({', '.join(STATUSES)}); repeat it or give a comma list.",
    ),
    "yes": click.option("-y", "--yes", "--force", "yes", is_flag=True, help="Do not ask."),
    "follow": click.option("-f", "--follow", is_flag=True, help="Go on until the job ends."),
    "dry_run": click.option("-n", "--dry-run", is_flag=True, help="Only say what would happen."),
}
"""Parameter name → its decorator."""

status_option = SHARED["status"]
limit_option = SHARED["limit"]
yes_option = SHARED["yes"]
dry_run_option = SHARED["dry_run"]
follow_option = SHARED["follow"]
SPAN = Span()


def client_options(verb: F) -> F:
    """`--server --token-file --cacert`; the verb gets them as one `client`."""

    @functools.wraps(verb)
    def wrapped(*args: Any, server: str | None, token_file: str | None, cacert: str | None, **more: Any) -> Any:
        client = make_client(server, token_file, cacert)
        try:
            return verb(*args, client=client, **more)
        finally:
            client.close()

    for name in ("cacert", "token_file", "server"):
        wrapped = SHARED[name](wrapped)
    return wrapped  # type: ignore[return-value]


def output_options(verb: F) -> F:
    """`--format -o`; the verb gets them as one `out`."""

    @functools.wraps(verb)
    def wrapped(*args: Any, format: Format, fields: tuple[str, ...], **more: Any) -> Any:
        from gpuyard.cli.output import Output

        return verb(*args, out=Output(format, fields), **more)

    for name in ("fields", "format"):
        wrapped = SHARED[name](wrapped)
    return wrapped  # type: ignore[return-value]


def make_client(server: str | None, token_file: str | None, cacert: str | None = None, timeout: float = 30.0) -> Client:
    """The client for these options and the environment. Raises Failure."""
    from gpuyard.cli.credentials import token_for
    from gpuyard.cli.exits import ExitCode, Failure
    from gpuyard.cli.http import Client

    token = read_token(token_file) if token_file else os.environ.get("GPUYARD_TOKEN") or None
    if token and not is_token(token):
        source = f"the token in {token_file}" if token_file else "GPUYARD_TOKEN"
        raise Failure(f"{source} is not a token", "it has blanks or characters that no token has", "", ExitCode.USAGE)
    client = Client(server, token, timeout, cacert)
    if token is None:
        client.use(token_for(client.url))
    return client


def is_token(text: str) -> bool:
    """May `text` stand in a header as a token?"""
    return text.isascii() and text.isprintable() and " " not in text


def read_token(name: str) -> str:
    """The token in a file, which nobody else should be able to read. Raises Failure."""
    import stat
    from pathlib import Path

    from gpuyard.cli.exits import ExitCode, Failure
    from gpuyard.cli.terminal import say

    path = Path(name)
    try:
        token = path.read_text("utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise Failure(f"cannot read the token file {path}", why, exit_code=ExitCode.USAGE) from None
    if not token:
        raise Failure(f"the token file {path} is empty", exit_code=ExitCode.USAGE)
    if stat.S_IMODE(mode) & 0o077:
        say(f"gpuyard: warning: others may read {path}; run: chmod 600 {path}")
    return token
