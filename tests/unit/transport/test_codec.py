"""Frames: what is understood, what is refused, and how."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model.commands import GetLimits, GetQueue, SetLimits
from gpuyard.actors.model.errors import Internal, InvalidInput, NotFound, StoreFailed, Unsupported, WrongState
from gpuyard.actors.model.limits import Limits
from gpuyard.transport import codec


def sent(frame: bytes) -> codec.Call:
    call = codec.unpack_upward(frame)
    assert isinstance(call, codec.Call)
    return call


def answered(frame: bytes) -> codec.Answer:
    answer = codec.unpack_downward(frame)
    assert isinstance(answer, codec.Answer)
    return answer


def by_hand(to: str, message: dict[str, object]) -> codec.Call:
    """A call as another version might send it."""
    return codec.Call(id=1, to=to, message=msgspec.Raw(msgspec.msgpack.encode(message)))


def test_a_call_arrives_as_it_was_sent() -> None:
    message = GetQueue(statuses=("pending",), user_id=3, offset=10, cause="c1")
    call = sent(codec.pack_call(9, "scheduler", message))
    assert (call.id, call.to) == (9, "scheduler")
    assert codec.message_of(call) == message


def test_unknown_fields_are_ignored() -> None:
    call = by_hand("scheduler", {"type": "GetQueue", "limit": 3, "of_the_future": {"a": 1}})
    assert codec.message_of(call) == GetQueue(limit=3)


def test_an_unknown_tag_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="scheduler takes no Teleport"):
        codec.message_of(by_hand("scheduler", {"type": "Teleport"}))


def test_a_message_for_another_actor_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="history takes no GetLimits"):
        codec.message_of(sent(codec.pack_call(1, "history", GetLimits())))


@pytest.mark.parametrize("message", [{"type": "GetQueue", "limit": "ten"}, {"no": "tag"}, {"type": 7}])
def test_a_message_with_a_wrong_field_is_invalid(message: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        codec.message_of(by_hand("scheduler", message))


def test_an_answer_arrives_with_its_type() -> None:
    limits = Limits(max_concurrent=3)
    assert codec.value_of(answered(codec.pack_value(1, limits)), GetLimits) == limits


@pytest.mark.parametrize("error", [NotFound("no such job"), WrongState("it has ended"), StoreFailed("disk full")])
def test_an_error_arrives_as_itself(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        codec.value_of(answered(codec.pack_error(1, error)), GetLimits)


def test_an_error_keeps_its_data_unless_that_cannot_travel() -> None:
    with pytest.raises(InvalidInput) as kept:
        codec.value_of(answered(codec.pack_error(1, InvalidInput("no", field="gpus"))), GetLimits)
    assert kept.value.data == {"field": "gpus"}
    with pytest.raises(InvalidInput) as lost:
        codec.value_of(answered(codec.pack_error(1, InvalidInput("no", thing=object()))), GetLimits)
    assert lost.value.data == {}


def test_an_error_that_is_not_ours_arrives_as_internal() -> None:
    with pytest.raises(Internal, match="KeyError"):
        codec.value_of(answered(codec.pack_error(1, KeyError("x"))), GetLimits)


def test_an_answer_of_another_type_is_internal() -> None:
    with pytest.raises(Internal, match="the answer to GetLimits can't be read"):
        codec.value_of(answered(codec.pack_value(1, ["not", "limits"])), GetLimits)


def test_an_answer_that_cannot_travel_is_internal() -> None:
    for value in (object(), {"n": 10**30}):
        with pytest.raises(Internal, match="can't be sent"):
            codec.value_of(answered(codec.pack_value(1, value)), GetLimits)


def test_a_message_that_cannot_travel_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidInput, match="can't be sent"):
        codec.pack_call(1, "scheduler", SetLimits(changes={"max_concurrent": 10**30}))
    with pytest.raises(InvalidInput, match="can't be sent"):
        codec.pack_call(1, "scheduler", SetLimits(changes={"\ud800": 1}))


def test_a_frame_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME", 1000)
    with pytest.raises(InvalidInput, match="too large"):
        codec.pack_call(1, "scheduler", SetLimits(changes={"x" * 1000: 1}))
    with pytest.raises(InvalidInput, match="too large"):
        codec.value_of(answered(codec.pack_value(1, ["x" * 1000])), GetLimits)


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    for unpack in (codec.unpack_upward, codec.unpack_downward):
        try:
            unpack(data)
        except codec.BadFrame:
            pass


@given(st.binary(max_size=100))
def test_no_message_does_harm(content: bytes) -> None:
    try:
        codec.message_of(codec.Call(id=1, to="scheduler", message=msgspec.Raw(content)))
    except (Unsupported, InvalidInput):
        pass


def test_a_pickle_is_not_a_frame() -> None:
    import pickle

    with pytest.raises(codec.BadFrame):
        codec.unpack_upward(pickle.dumps({"type": "Hello"}))
