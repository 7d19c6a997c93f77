"""`gpuyard config show`: each setting, its value and where it came from."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli.exits import ExitCode, Failure


@click.command("show")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", help="table or json.")
def show(format_: str) -> None:
    """Each setting of the server and where it came from: flag, environment, file or default."""
    from gpuyard.cli import settings

    try:
        origins = settings.origins({})
    except settings.SettingsError as error:
        raise Failure("the settings cannot be used", str(error), exit_code=ExitCode.USAGE) from None
    if format_ == "json":
        import msgspec

        rows = {o.name: {"value": _plain(o.value), "source": o.source} for o in origins}
        click.echo(msgspec.json.encode(rows).decode())
        return
    width = max(len(o.name) for o in origins)
    for origin in origins:
        click.echo(f"{origin.name:<{width}}  {_text(origin.value):<28}  {origin.source:<12}  # {origin.description}")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else _list(value)


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value)


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else "-" if value is None else str(value)
