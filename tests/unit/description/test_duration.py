"""Durations: what people write, and what nobody means."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from gpuyard.actors.model import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12h", 43_200),
        ("90m", 5_400),
        ("1h30m", 5_400),
        (" 1h 30m ", 5_400),
        ("1d", 86_400),
        ("1w2d", 777_600),
        ("45s", 45),
        ("1.5h", 5_400),
        ("3600", 3_600),
        (3_600, 3_600),
        (0.25, 0.25),
        ("2H", 7_200),
    ],
)
def test_durations_people_write(text: object, seconds: float) -> None:
    assert duration.parse(text) == seconds


TEXTS = ["", " ", "h", "30m1h", "1h1h", "-1h", "1y", "1h30", "0", "0s", "1e3", "١h", "1h\n;", "9" * 50 + "h"]


@pytest.mark.parametrize("value", [*TEXTS, 0, -1, True, None, [], math.nan, math.inf, 10**20])
def test_what_is_no_duration_says_so(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        duration.parse(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())))
@example("1" * 10_000)
def test_any_input_gives_seconds_or_a_sentence(value: Any) -> None:
    try:
        seconds = duration.parse(value)
    except ValueError as error:
        assert str(error).startswith("must be")
    else:
        assert 0 < seconds <= duration.LONGEST


@given(st.integers(1, 10 * 365 * 86_400))
def test_what_is_shown_is_read_back(seconds: int) -> None:
    assert duration.parse(duration.show(seconds)) == seconds
