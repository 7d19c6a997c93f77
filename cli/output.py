"""How an answer is written: `--format table|json|jsonl|csv`, `-o` fields with dot paths. stdout is data only."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import click

from gpuyard.actors.model import spreadsheet
from gpuyard.cli import tables, terminal
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import amount, clean, local_time

Format = Literal["table", "json", "jsonl", "csv"]
Item = dict[str, Any]

_MISSING = object()


class Output(NamedTuple):
    """What the person asked for: a format (None = a table) and the fields of `-o` (empty = the verb's own)."""

    format: Format = "table"
    fields: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether the verb's own view for people is asked for."""
        return self.format == "table" and not self.fields


def pick(item: Any, path: str) -> Any:
    """The value at a dot path (`metadata.run_name`, `attempts.0.pid`), None where there is none.

    A key that has dots itself is found too: the longest key wins.
    """
    found = _walk(item, path)
    return None if found is _MISSING else found


def _walk(item: Any, path: str) -> Any:
    """In the time of the path's length, however many dots it has."""
    if isinstance(item, dict):
        keys = [key for key in item if path == key or path.startswith(f"{key}.")]
        for key in sorted(keys, key=len, reverse=True):
            found = item[key] if path == key else _walk(item[key], path[len(key) + 1 :])
            if found is not _MISSING:
                return found
    elif isinstance(item, list):
        first, dot, rest = path.partition(".")
        if len(first) < 10 and first.isdecimal() and int(first) < len(item):
            return _walk(item[int(first)], rest) if dot else item[int(first)]
    return _MISSING


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON that is readable and harmless: invisible, reordering and lone surrogate characters are escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return spreadsheet.escaped(text)


def emit_list(
    out: Output,
    items: Sequence[Item],
    *,
    table: Callable[[Sequence[Item]], Table],
    fields: Sequence[str],
    noun: str = "entry",
) -> None:
    """Write many items. `fields` are the columns of CSV when `-o` names none; an empty list is `[]` in JSON."""
    names = out.fields or tuple(fields)
    if out.fields:
        _warn_of_unknown(items, out.fields)
    shown: Sequence[Item] = [{name: pick(item, name) for name in names} for item in items] if out.fields else items
    if out.format == "json":
        click.echo(to_json(list(shown)) if shown else "[]")
    elif out.format == "jsonl":
        for item in shown:
            click.echo(to_json(item, None))
    elif out.format == "csv":
        _emit_csv(items, names)
    elif not items:
        terminal.say(f"no {amount(0, noun).removeprefix('0 ')}")
    else:
        tables.show(field_table(items, names) if out.fields else table(items))


def emit_one(out: Output, item: Item, *, view: Callable[[Item], None]) -> None:
    """Write one item; `view` prints it for people. A single field is its value alone, for scripts."""
    if out.fields:
        _warn_of_unknown([item], out.fields)
    shown = {name: pick(item, name) for name in out.fields} if out.fields else item
    if out.format == "json":
        click.echo(to_json(shown))
    elif out.format == "jsonl":
        click.echo(to_json(shown, None))
    elif out.format == "csv":
        _emit_csv([item], out.fields or tuple(item))
    elif len(out.fields) == 1:
        click.echo(field_cell(out.fields[0], shown[out.fields[0]]).text)
    elif out.fields:
        tables.show_facts([(name, field_cell(name, value)) for name, value in shown.items()])
    else:
        view(item)


def field_table(items: Sequence[Item], names: Sequence[str]) -> Table:
    """The table that `-o` asks for."""
    columns = [Column(name, keep=name == "id" or name.endswith("_id")) for name in names]
    return Table(columns, [[field_cell(name, pick(item, name)) for name in names] for item in items])


def field_cell(name: str, value: Any) -> Cell:
    """A value in a table: times local and short, lists with commas, nothing as `-`."""
    if value is None:
        return Cell("-", dim=True)
    if name.endswith("_at"):
        return Cell(local_time(value))
    return Cell(clean(flat(value)))


def flat(value: Any) -> str:
    """A value as one piece of text: `true`, `0,1`, an object as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        return ",".join(flat(each) for each in value)
    if isinstance(value, (dict, list)):
        return to_json(value, None)
    return str(value)


def _emit_csv(items: Sequence[Item], names: Sequence[str]) -> None:
    rows = [[_csv_value(pick(item, name)) for name in names] for item in items]
    click.echo(spreadsheet.table(names, rows), nl=False)


def _csv_value(value: Any) -> str | int | float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else flat(value)


def _warn_of_unknown(items: Sequence[Item], names: Sequence[str]) -> None:
    """A word on stderr about fields that no item has: most often a slip of the pen."""
    for name in names:
        first = name.split(".")[0]
        if items and not any(first in item or name in item for item in items):
            known = ", ".join(sorted({key for item in items for key in item}))
            terminal.say(f"gpuyard: nothing here has a field {clean(name)!r}; there are: {clean(known)}")
