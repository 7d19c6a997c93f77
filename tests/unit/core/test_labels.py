"""Label globs: the same answers as the standard library's, at a bounded cost."""

from __future__ import annotations

from fnmatch import fnmatchcase

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gpuyard.actors.model import labels
from gpuyard.actors.model.labels import Miss


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("a100*", "a100-80gb", True),
        ("a100*", "A100-80gb", False),
        ("us-*", "us-east-1", True),
        ("us-?ast-[0-9]", "us-east-7", True),
        ("us-[!w]*", "us-west", False),
        ("", "", True),
        ("*", "", True),
        ("[", "[", True),
        ("[]]", "]", True),
        ("a[z-a]", "az", False),
    ],
)
def test_a_glob(pattern: str, value: str, expected: bool) -> None:
    assert labels.matches(pattern, value) is expected


PIECES = ["a", "b", "A", "-", "!", "]", "*", "?", "[ab]", "[!a]", "[a-y]", "[!b-z]", "[]-]", "[z-a]", "[!]]"]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.text("abAz]-!", max_size=8))
def test_it_agrees_with_fnmatch(pieces: list[str], value: str) -> None:
    pattern = "".join(pieces)
    assert labels.matches(pattern, value) is fnmatchcase(value, pattern)


class Counted(str):
    """A text that counts how often a character of it is looked at."""

    looks = 0

    def __getitem__(self, key: object) -> str:
        Counted.looks += 1
        return super().__getitem__(key)  # type: ignore[index]


@pytest.mark.parametrize("pattern", ["*a" * 64, "*a" * 63 + "*b", "*" * 128, "*" + "a" * 126 + "b", "?*" * 64])
@pytest.mark.parametrize("value", ["a" * 128, "ab" * 64, "a" * 127 + "b"])
def test_no_pattern_is_a_bomb(pattern: str, value: str) -> None:
    Counted.looks = 0
    labels.matches(pattern, Counted(value))
    assert Counted.looks <= len(pattern) * len(value)


def test_all_labels_must_match_and_each_that_does_not_is_named() -> None:
    wanted = labels.wanted({"gpu_type": "a100*", "location": "us-*", "ssd": "*"})
    assert labels.misses(wanted, {"gpu_type": "a100", "location": "us-1", "ssd": ""}) == []
    assert labels.misses(wanted, {"gpu_type": "h100", "location": "us-1"}) == [
        Miss("gpu_type", "a100*", "h100"),
        Miss("ssd", "*", None),
    ]
