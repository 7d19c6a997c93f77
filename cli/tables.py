"""Tables for people: aligned columns, cut to the terminal's width where a column may be cut, never an id.

Not rich's: that one cuts ids and drops whole columns in a narrow terminal, and takes longer to load than the command
to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from gpuyard.cli import terminal
from gpuyard.cli.text import clean

GAP = "  "
NARROWEST = 8


class Cell(NamedTuple):
    """One cell; `colour` is a click colour, `dim` for what matters less."""

    text: str
    colour: str | None = None
    dim: bool = False


class Column(NamedTuple):
    """A column; `keep` is never cut, `right` aligns numbers."""

    title: str
    keep: bool = False
    right: bool = False


class Table(NamedTuple):
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | str]]


def plain(text: object) -> Cell:
    return Cell(clean("-" if text is None else text))


def lines(table: Table, *, room: int | None, colour: bool) -> Iterable[str]:
    """The table's lines; `room` is the terminal's width, None cuts nothing."""
    rows = [[cell if isinstance(cell, Cell) else plain(cell) for cell in row] for row in table.rows]
    titles = [column.title.upper() for column in table.columns]
    widths = [
        max([terminal.cells(title), *(terminal.cells(row[n].text) for row in rows)]) for n, title in enumerate(titles)
    ]
    if room is not None:
        _shrink(widths, table.columns, room)
    head = [Cell(title, dim=True) for title in titles]
    for row in [head, *rows]:
        parts = []
        for cell, column, size in zip(row, table.columns, widths, strict=True):
            text = terminal.cut(cell.text, size)
            space = " " * (size - terminal.cells(text))
            shown = (
                click.style(text, fg=cell.colour, dim=cell.dim or None)
                if colour and (cell.colour or cell.dim)
                else text
            )
            parts.append(space + shown if column.right else shown + space)
        yield GAP.join(parts).rstrip()


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Take from the widest column that may be cut until the row fits, or nothing is left to take."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while over > 0:
        free = [n for n, column in enumerate(columns) if not column.keep and widths[n] > NARROWEST]
        if not free:
            return
        widths[max(free, key=lambda n: widths[n])] -= 1
        over -= 1


def show(table: Table) -> None:
    """Write the table to stdout, as its place allows."""
    room = terminal.width() if terminal.is_terminal() else None
    for line in lines(table, room=room, colour=terminal.has_colour()):
        click.echo(line)


def show_facts(facts: Iterable[tuple[str, Cell | str]]) -> None:
    """Name and value, one pair a line, names aligned; a value is never cut."""
    pairs = [(name, value if isinstance(value, Cell) else plain(value)) for name, value in facts]
    size = max((terminal.cells(name) for name, _ in pairs), default=0)
    colour = terminal.has_colour()
    for name, value in pairs:
        label = name.ljust(size)
        text = (
            click.style(value.text, fg=value.colour, dim=value.dim or None) if colour and value.colour else value.text
        )
        click.echo(f"{click.style(label, dim=True) if colour else label}  {text}".rstrip())
