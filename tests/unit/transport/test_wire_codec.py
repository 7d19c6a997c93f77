"""Frames between hosts: what is understood, what is refused, what fits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model import wire as words
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.wire import PROTOCOL, Report, Want
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.codec import Answer, BadFrame, Call
from tests.hosts import beat, sync

UP: list[wire.Upward] = [
    wire.Greet(protocol=1, oldest=0, purpose="bulk", version="0.3"),
    beat(3, attempts={1 << 40 | 7: Report(phase="running", pid=4)}),
    Call(id=3, to="workers", message=msgspec.Raw(msgspec.msgpack.encode({"type": "Ping"}))),
    Answer(id=3, code="not_found", detail="no"),
]
DOWN: list[wire.Downward] = [
    wire.Greeted(protocol=1, user_id="w1", bulk_port=5),
    wire.Declined(code="version", detail="too old"),
    sync(3, want={1 << 40 | 7: Want(action=words.STOP, reason="cancelled")}, ack=(5, 6)),
]


@pytest.mark.parametrize("frame", UP, ids=lambda frame: type(frame).__name__)
def test_what_goes_up_arrives_as_it_was(frame: wire.Upward) -> None:
    assert wire.unpack_upward(wire.pack(frame)) == frame


@pytest.mark.parametrize("frame", DOWN, ids=lambda frame: type(frame).__name__)
def test_what_goes_down_arrives_as_it_was(frame: wire.Downward) -> None:
    assert wire.unpack_downward(wire.pack(frame)) == frame


def test_unknown_fields_are_ignored() -> None:
    said = msgspec.to_builtins(beat(3)) | {"of_the_future": [1, {"a": 2}]}
    assert wire.unpack_upward(msgspec.msgpack.encode(said)) == beat(3)


def test_a_frame_of_the_future_is_told_from_nonsense() -> None:
    future = msgspec.msgpack.encode({"type": "Teleport", "to": "mars"})
    for unpack in (wire.unpack_upward, wire.unpack_downward):
        with pytest.raises(wire.Unknown, match="Teleport"):
            unpack(future)
        with pytest.raises(BadFrame) as nonsense:
            unpack(b"\xc1")
        assert not isinstance(nonsense.value, wire.Unknown)


def test_a_worker_can_not_say_what_a_server_says() -> None:
    with pytest.raises(BadFrame):
        wire.unpack_upward(wire.pack(sync()))
    with pytest.raises(BadFrame):
        wire.unpack_downward(wire.pack(beat()))


@pytest.mark.parametrize("field", ["attempts", "n", "gpus"])
def test_a_wrong_field_makes_a_bad_frame(field: str) -> None:
    said = msgspec.to_builtins(beat(3)) | {field: "seven"}
    with pytest.raises(BadFrame):
        wire.unpack_upward(msgspec.msgpack.encode(said))


def test_the_version_is_always_in_the_frame() -> None:
    """Else a reader of the next version would take an old frame for one of its own."""
    for frame in (beat(), sync()):
        assert msgspec.msgpack.decode(wire.pack(frame))["protocol"] == PROTOCOL


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data: bytes) -> None:
    for unpack in (wire.unpack_upward, wire.unpack_downward):
        try:
            unpack(data)
        except BadFrame:
            pass


def test_deep_nesting_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame):
        wire.unpack_upward(b"\x91" * 100_000)


@pytest.mark.parametrize(
    ("oldest", "protocol", "agreed"),
    [
        (PROTOCOL, PROTOCOL, PROTOCOL),
        (PROTOCOL - 1, PROTOCOL - 1, PROTOCOL - 1),
        (PROTOCOL - 2, PROTOCOL - 1, PROTOCOL - 1),
        (PROTOCOL, PROTOCOL + 1, PROTOCOL),
        (PROTOCOL + 1, PROTOCOL + 2, None),
        (PROTOCOL - 3, PROTOCOL - 2, None),
    ],
)
def test_this_version_and_the_one_before_are_spoken(oldest: int, protocol: int, agreed: int | None) -> None:
    assert wire.agree(wire.Greet(protocol=protocol, oldest=oldest)) == agreed


def order(fence: int, size: int) -> Want:
    spec = RunSpec(fence=fence, job_id=f"j{fence}", attempt=1, argv=("x",), files={"config": "x" * size})
    return Want(spec_hash=f"h{fence}", spec=spec)


def specs_of(data: bytes) -> dict[int, Any]:
    frame = wire.unpack_downward(data)
    assert isinstance(frame, words.Sync)
    return {fence: want.spec for fence, want in frame.want.items()}


def test_orders_that_do_not_fit_wait_for_a_later_sync() -> None:
    many = sync(want={fence: order(fence, 100_000 + fence) for fence in range(1, 31)}, ack=(99,))
    data = wire.pack_sync(many)
    assert len(data) <= wire.MAX_FRAME
    specs = specs_of(data)
    assert set(specs) == set(range(1, 31)), "every wanted run is named"
    assert [fence for fence, spec in specs.items() if spec is not None] == list(range(1, 11)), "the small ones first"
    # The worker reports those ten, so the next Sync needs only name them, and has room for others.
    rest = {fence: want if fence > 10 else Want(spec_hash=want.spec_hash) for fence, want in many.want.items()}
    assert [f for f, spec in specs_of(wire.pack_sync(sync(2, want=rest))).items() if spec] == list(range(11, 21))


def test_one_order_that_never_fits_does_not_keep_the_others_or_a_stop_from_leaving() -> None:
    data = wire.pack_sync(sync(want={1: order(1, wire.MAX_FRAME), 2: order(2, 10), 3: Want(action=words.STOP)}))
    assert {fence: spec is not None for fence, spec in specs_of(data).items()} == {1: False, 2: True, 3: False}
    alone = wire.pack_sync(sync(want={1: order(1, wire.MAX_FRAME), 3: Want(action=words.STOP)}))
    assert specs_of(alone) == {1: None, 3: None}


def test_a_frame_has_a_largest_size() -> None:
    with pytest.raises(InvalidInput, match="too large"):
        wire.pack(beat(version="x" * wire.MAX_FRAME))
    with pytest.raises(InvalidInput, match="too large"):
        wire.pack_sync(sync(ack=tuple(range(1 << 40, (1 << 40) + 200_000))))
