"""A worker's token: one line that can be pasted, and says when it was pasted badly."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.token import PREFIX, WorkerToken

PAIR, SERVER = KeyPair.new(), KeyPair.new()
TOKEN = WorkerToken((Endpoint("gpu.example.org", 5555), Endpoint("[fe80::1]", 5555)), SERVER.public, PAIR)
TEXT = TOKEN.encode()


def test_it_comes_back_as_it_was() -> None:
    found = WorkerToken.decode(TEXT)
    assert found == TOKEN and found.keys.secret == PAIR.secret and found.keys.public == PAIR.public


def test_it_is_one_word_that_a_shell_and_a_url_leave_alone() -> None:
    assert TEXT.startswith(PREFIX) and TEXT.replace("_", "").replace("-", "").isalnum()


def test_it_is_kept_out_of_repr() -> None:
    assert PAIR.secret not in repr(TOKEN) and PAIR.secret not in repr(PAIR) and TEXT not in repr(TOKEN)


@pytest.mark.parametrize("broken", [TEXT[:60] + "\n" + TEXT[60:], f"  {TEXT}\n", TEXT[:9] + " " + TEXT[9:]])
def test_a_line_that_was_broken_by_pasting_is_mended(broken: str) -> None:
    assert WorkerToken.decode(broken) == TOKEN


@given(st.integers(len(PREFIX), len(TEXT) - 1), st.sampled_from("abcXYZ019-_"))
def test_a_slip_of_the_pen_is_noticed(at: int, letter: str) -> None:
    other = TEXT[:at] + letter + TEXT[at + 1 :]
    try:
        assert WorkerToken.decode(other) == TOKEN, "only unused bits of the last letter may differ"
    except InvalidInput as error:
        assert "copy it again" in error.detail


@pytest.mark.parametrize("text", ["", "gyw1_", TEXT[:-3], TEXT + "AAAA", "gyw2_abc", "x" * 10_000, f"{PREFIX}ä", "{}"])
def test_what_is_none_is_refused_in_words_that_do_not_repeat_it(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        WorkerToken.decode(text)
    assert PAIR.secret not in caught.value.detail and (len(text) < 8 or text not in caught.value.detail)


@given(st.text(max_size=200))
def test_no_text_does_harm(text: str) -> None:
    for one in (text, PREFIX + text):
        with pytest.raises(InvalidInput):
            WorkerToken.decode(one)
