"""Frames of the local link: msgpack, tagged by name, never pickle.

A frame is one envelope (`Hello`, `Call` up; `Welcome`, `Answer`, `Published` down). A call's message and an answer's
value are msgpack of their own inside it, decoded by the type that the table of calls names, so that an envelope can
be read, and answered, although its content is not understood. Unknown fields are ignored; an unknown tag answers
`Unsupported`. A frame is at most `MAX_FRAME` bytes long.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import GpuyardError, Internal, InvalidInput, Unsupported, from_code
from gpuyard.actors.model.message import Message
from gpuyard.transport import calls
from gpuyard.transport.calls import Table

# A list of 1,000 submits with their config files fits; so does any page of answers.
MAX_FRAME: Final = 64 * 1024 * 1024


class BadFrame(Exception):
    """The other end sent something that is no frame of ours."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of the envelopes."""


class Hello(Frame, frozen=True, kw_only=True):
    """From a client, once a connection: publish to me. Answered by Welcome."""


class Call(Frame, frozen=True, kw_only=True):
    """A message for the actor `to`. `id` 0 wants no answer (`tell`)."""

    to: str
    message: msgspec.Raw
    id: int = 0


class Welcome(Frame, frozen=True, kw_only=True):
    """From here on all that is published comes on this connection."""

    revision: int = 0


class Answer(Frame, frozen=True, kw_only=True):
    """The answer to the call `id`: `value`, or the error that `code` names with its `detail` and `data`."""

    id: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    code: str | None = None
    detail: str = ""
    data: dict[str, Any] = {}


class Published(Frame, frozen=True, kw_only=True):
    """Durable events. `missed`: earlier ones were dropped, because this client did not keep up."""

    events: tuple[EventRow, ...] = ()
    revision: int = 0
    missed: bool = False


_encoder = msgspec.msgpack.Encoder()
_upward: msgspec.msgpack.Decoder[Hello | Call] = msgspec.msgpack.Decoder(Hello | Call)
_downward: msgspec.msgpack.Decoder[Welcome | Answer | Published] = msgspec.msgpack.Decoder(Welcome | Answer | Published)


class Tag(msgspec.Struct, frozen=True):
    """All that is read of a message before it is known which one it is."""

    type: str


_tag = msgspec.msgpack.Decoder(Tag)


@cache
def _messages_of(to: str, table: Table) -> dict[str, msgspec.msgpack.Decoder[Message]]:
    return {message.__name__: msgspec.msgpack.Decoder(message) for message in table.allowed(to)}


@cache
def _values_of(message: type[Message], table: Table) -> msgspec.msgpack.Decoder[Any]:
    try:
        return msgspec.msgpack.Decoder(table.answers()[message])
    except KeyError:
        raise Unsupported(f"{message.__name__} is not asked over the link") from None


def pack(frame: Frame, longest: int | None = None) -> bytes:
    """`frame` as bytes. Raises InvalidInput when it would be longer than `longest` (MAX_FRAME)."""
    data = _encoder.encode(frame)
    if len(data) > (bound := longest or MAX_FRAME):
        raise InvalidInput(f"too large: {len(data)} bytes at once, {bound} are possible")
    return data


def pack_call(id: int, to: str, message: Message, longest: int | None = None) -> bytes:
    """A Call. Raises InvalidInput when it is too large or holds what can't travel (an integer beyond 64 bits)."""
    try:
        content = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{type(message).__name__} can't be sent: {error}") from error
    return pack(Call(id=id, to=to, message=msgspec.Raw(content)), longest)


def pack_value(id: int, value: Any, longest: int | None = None) -> bytes:
    """The Answer `value`; one that can't travel is answered as an error."""
    try:
        return pack(Answer(id=id, value=msgspec.Raw(_encoder.encode(value))), longest)
    except GpuyardError as error:
        return pack_error(id, error)
    except (TypeError, ValueError, OverflowError) as error:
        return pack_error(id, Internal(f"an answer can't be sent: {error}"))


def pack_error(id: int, error: BaseException, longest: int | None = None) -> bytes:
    """The Answer that says what went wrong; `data` that can't travel is left out."""
    if not isinstance(error, GpuyardError):
        error = Internal(f"{type(error).__name__}: {error}")
    try:
        return pack(Answer(id=id, code=error.code, detail=error.detail, data=error.data), longest)
    except (GpuyardError, TypeError, ValueError, OverflowError):
        return pack(Answer(id=id, code=error.code, detail=error.detail[:1000]))


def unpack_upward(data: bytes) -> Hello | Call:
    """What a client sent. Raises BadFrame."""
    try:
        return _upward.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from error


def unpack_downward(data: bytes) -> Welcome | Answer | Published:
    """What the link sent. Raises BadFrame."""
    try:
        return _downward.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from error


def message_of(call: Call, table: Table = calls.LINK) -> Message:
    """The message inside. Raises Unsupported for one that may not be sent there, InvalidInput for a wrong field."""
    try:
        name = _tag.decode(call.message).type
        decoder = _messages_of(call.to, table).get(name)
        if decoder is None:
            raise Unsupported(f"{call.to} takes no {name} over the link")
        return decoder.decode(call.message)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"a message for {call.to} can't be read: {error}") from error


def value_of(answer: Answer, message: type[Message], table: Table = calls.LINK) -> Any:
    """The value that answers a message of this class. Raises the error that was answered."""
    if answer.code is not None:
        raise from_code(answer.code, answer.detail, answer.data)
    try:
        return _values_of(message, table).decode(answer.value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Internal(f"the answer to {message.__name__} can't be read: {error}") from error
