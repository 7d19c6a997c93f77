"""Groups whose verbs are imported only when they are used, and whose shared options may stand before the verb.

`gpuyard --server URL jobs --format json list` is `gpuyard jobs list --server URL --format json`: an option that is
given to a group becomes the default of the verb's own option of that name; a verb that has no such option refuses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from gpuyard.cli.options import SHARED

_GIVEN = "gpuyard.cli.given"


class Verb(NamedTuple):
    """One line of the registry: where the verb is (`module:name` in cli/commands) and what it does."""

    where: str
    help: str

    def load(self) -> click.Command:
        module, _, name = self.where.partition(":")
        command: click.Command = getattr(importlib.import_module(f"gpuyard.cli.commands.{module}"), name)
        return command


class Family(NamedTuple):
    """A group of verbs."""

    help: str
    verbs: Mapping[str, Verb | Family]


class SharedOptions(click.Group):
    """A group that takes the shared options on behalf of its verbs."""

    def __init__(self, *args: Any, show_shared: bool = False, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        own = {parameter.name for parameter in self.params}
        self._added = [name for name in SHARED if name not in own]
        for name in self._added:
            SHARED[name](self)
            option = self.params[-1]
            assert isinstance(option, click.Option)
            option.hidden = not show_shared

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        given = {
            name: ctx.params[name]
            for name in SHARED
            if name in ctx.params and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        ctx.meta[_GIVEN] = {**ctx.meta.get(_GIVEN, {}), **given}
        for name in self._added:
            ctx.params.pop(name, None)
        return rest

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, verb, rest = super().resolve_command(ctx, args)
        given = ctx.meta.get(_GIVEN)
        if given and name and verb is not None:
            if not isinstance(verb, SharedOptions):
                _check_taken(given, verb, f"{ctx.command_path} {name}", ctx)
            ctx.default_map = {name: given}
        return name, verb, rest


class LazyGroup(SharedOptions):
    """A group made from the registry: its help is printed without importing a single verb."""

    def __init__(self, name: str, family: Family, **attrs: Any) -> None:
        super().__init__(name=name, help=family.help, **attrs)
        self.verbs = family.verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self.verbs.get(cmd_name)
        if found is None:
            return None
        return LazyGroup(cmd_name, found) if isinstance(found, Family) else found.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click looks for similar names in `commands`, which is empty here.
        if args[0] not in self.verbs and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=list(self.verbs), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(len(name) for name in self.verbs)
        rows = [(name, _shorten(verb.help, room)) for name, verb in self.verbs.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _shorten(text: str, room: int) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= room else line[: max(1, room - 1)].rstrip() + "…"


def _check_taken(given: Mapping[str, Any], verb: click.Command, path: str, ctx: click.Context) -> None:
    """A shared option before a verb that does not have it is a mistake, not a wish to be ignored."""
    taken = {parameter.name for parameter in verb.params}
    for name in given:
        if name not in taken:
            flag = max(SHARED_FLAGS[name], key=len)
            raise click.UsageError(f"{flag} is not an option of `{path}`.", ctx)


def _flags() -> dict[str, list[str]]:
    probe = click.Command("probe")
    for decorate in SHARED.values():
        decorate(probe)
    return {str(option.name): option.opts for option in probe.params}


SHARED_FLAGS: Mapping[str, list[str]] = _flags()
