"""Log bytes as lines: progress bars, torn characters, endless lines, and offsets that add up."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gpuyard.api.loglines import LONGEST, Line, LineSplitter, last_lines


def lines(*pieces: bytes, offset: int = 0) -> list[Line]:
    splitter = LineSplitter(offset)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    return found + splitter.finish()


def test_lines_with_the_offset_behind_each() -> None:
    assert lines(b"one\ntwo\r\n\nlast", offset=100) == [
        Line("one", 104),
        Line("two", 109),
        Line("", 110),
        Line("last", 114),
    ]


def test_a_progress_bar_shows_what_a_terminal_would() -> None:
    assert [line.text for line in lines(b"10%\r20%\r30%\r100%\nend\n")] == ["100%", "end"]


def test_a_bar_that_is_still_moving_is_shown_piece_by_piece() -> None:
    assert [line.text for line in lines(b"10%\r20%\r30", b"%\r40%\r", b"50%\n")] == ["20%", "30%", "50%"]


def test_a_newline_after_the_bar_leaves_it_standing() -> None:
    assert [line.text for line in lines(b"100%\r\r\nnext\n")] == ["100%", "next"]


def test_a_newline_that_comes_later_ends_the_bar_and_is_no_line_of_its_own() -> None:
    assert [line.text for line in lines(b"50%\r60%\r", b"\r", b"\n", b"next\n")] == ["50%", "60%", "next"]


def test_a_line_end_torn_in_two_is_one() -> None:
    assert [line.text for line in lines(b"one\r", b"\ntwo\n")] == ["one", "two"]


def test_torn_characters_are_whole_again() -> None:
    text = "größe 🟫\n".encode()
    for cut in range(len(text)):
        assert [line.text for line in lines(text[:cut], text[cut:])] == ["größe 🟫"]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert [line.text for line in lines(b"a\xff\xfeb\n")] == ["a\ufffd\ufffdb"]


def test_an_endless_line_comes_in_parts_of_whole_characters() -> None:
    found = lines(*(["ä".encode() * 10_000] * 10), b"\n")
    assert "".join(line.text for line in found) == "ä" * 100_000
    assert all(len(line.text.encode()) <= LONGEST for line in found)


@given(st.lists(st.binary(max_size=50) | st.sampled_from([b"\n", b"\r", b"\r\n", b"ab"]), max_size=20))
def test_reading_can_go_on_behind_any_line(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    found = lines(*pieces)
    offsets = [line.after for line in found]
    assert offsets == sorted(offsets)
    assert all(0 <= offset <= len(data) for offset in offsets)
    assert not any("\n" in line.text or "\r" in line.text for line in found)
    # Whoever reconnects behind a line that ended with a newline gets exactly the rest.
    for index, line in enumerate(found):
        if data[: line.after].endswith(b"\n"):
            rest = lines(data[line.after :], offset=line.after)
            assert [line.text for line in rest][-1:] == [line.text for line in found[index + 1 :]][-1:]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_pieces_do_not_change_the_lines_of_a_log_without_bars(pieces: list[bytes]) -> None:
    pieces = [piece.replace(b"\r", b"") for piece in pieces]
    assert lines(*pieces) == lines(b"".join(pieces))


@pytest.mark.parametrize(
    ("data", "count", "rest"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 5, b"a\nb\n"),
        (b"a\nb\n", 0, b""),
        (b"", 3, b""),
        (b"\n\n\n", 1, b"\n"),
    ],
)
def test_the_last_lines(data: bytes, count: int, rest: bytes) -> None:
    assert data[last_lines(data, count) :] == rest
