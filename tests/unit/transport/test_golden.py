"""Frames of earlier releases must still be understood."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.transport import golden

KNOWN = golden.load()


def holds(now: Any, then: Any) -> bool:
    """Does `now` say all that `then` said? New fields may have come, nothing may be lost or changed."""
    if isinstance(then, dict) and isinstance(now, dict):
        return all(key in now and holds(now[key], value) for key, value in then.items())
    if isinstance(then, list) and isinstance(now, list):
        return len(now) == len(then) and all(holds(a, b) for a, b in zip(now, then, strict=True))
    return bool(now == then)


def test_every_wire_message_has_a_golden_frame() -> None:
    missing = {name for name, _ in golden.frames()} - set(KNOWN)
    assert not missing, "run: python -m tests.unit.transport.golden"


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_golden_frame_still_says_what_it_said(name: str) -> None:
    then = KNOWN[name]
    assert holds(golden.content(name, bytes.fromhex(then["frame"])), then["content"])


@pytest.mark.parametrize(("name", "frame"), [(n, f) for n, f in golden.frames() if n in KNOWN])
def test_what_is_written_today_is_read_today(name: str, frame: bytes) -> None:
    assert holds(golden.content(name, frame), KNOWN[name]["content"])


def test_the_comparison_notices_a_lost_field_and_a_changed_value() -> None:
    assert holds({"a": 1, "new": 2}, {"a": 1})
    assert not holds({"new": 2}, {"a": 1})
    assert not holds({"a": [1, 2]}, {"a": [1, 3]})
