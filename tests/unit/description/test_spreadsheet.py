"""No cell of a table runs anything in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model import spreadsheet


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\n=1", "  +cmd|' /C calc'!A0", "\uff1d1", "\uff20x"],
)
def test_formulas_are_text(text: str) -> None:
    assert spreadsheet.cell(text) == "'" + text


def test_nothing_ends_a_row_but_its_end() -> None:
    assert spreadsheet.cell("\r=1") == "\\u000d=1"
    assert spreadsheet.table(["a"], [["x\r=1\ny"]]) == 'a\n"x\\u000d=1\ny"\n'


def test_plain_values_stay_what_they_are() -> None:
    for value, shown in (("a=b", "a=b"), ("", ""), (None, ""), (-3, "-3"), (1.5, "1.5"), ("2026-11-22", "2026-11-22")):
        assert spreadsheet.cell(value) == shown  # type: ignore[arg-type]


@given(st.lists(st.lists(st.text() | st.none() | st.integers(), min_size=2, max_size=2), max_size=4))
def test_a_table_is_read_back_cell_by_cell(rows: list[list[spreadsheet.Value]]) -> None:
    text = spreadsheet.table(["a", "=b"], rows)
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == ["a", "'=b"]
    assert found[1:] == [[spreadsheet.cell(value) for value in row] for row in rows]
    assert not any(value.lstrip(" \n").startswith(("=", "+", "@")) for row in found for value in row)
    assert "\u202e" not in text
