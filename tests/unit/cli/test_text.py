"""Text for people: nothing hostile reaches a terminal; times and spans are short."""

from __future__ import annotations

import time

import pytest

from gpuyard.cli.text import clean, clean_line, epoch, local_time, span


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("na\u00efve \u65e5\u672c", "na\u00efve \u65e5\u672c"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "\u241b]0;title\u2407"),
        ("\x1b[2Jgone", "\u241b[2Jgone"),
        ("two\nlines\tand", "two lines and"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202egpj", "abc\\u202egpj"),
        ("half \udc80", "half \\udc80"),
        ("rub\x7fout", "rub\u2421out"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_no_character_that_a_terminal_obeys_is_left() -> None:
    every = "".join(chr(code) for code in range(0x300))
    for shown in (clean(every), clean_line(every)):
        assert not any((ord(char) < 32 and char != "\t") or 0x7F <= ord(char) < 0xA0 for char in shown)


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert clean_line(" 10%|#\r 20%|##\r 30%|###\r\n") == " 30%|###"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0s"),
        (0.42, "0.4s"),
        (9.94, "9.9s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (192, "3m12s"),
        (18_420, "5h07m"),
        (187_200, "2d04h"),
        (-3, "0s"),
    ],
)
def test_spans_are_short(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown


def test_times_are_local_and_as_short_as_their_age_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        now = epoch("2026-11-22T02:00:00Z")
        assert local_time("2026-11-22T01:05:09.500Z", now) == "10:05:09"
        assert local_time("2026-11-20T01:05:09Z", now) == "Nov 20 10:05"
        assert local_time("2025-11-20T01:05:09Z", now) == "2025-11-20 10:05"
        assert local_time(None, now) == "-"
        assert local_time("\x1b[2J", now) == "\u241b[2J"
    finally:
        monkeypatch.undo()
        time.tzset()
