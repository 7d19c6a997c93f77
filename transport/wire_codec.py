"""Frames between a worker and the server: msgpack, tagged by name, one ZeroMQ part each, at most 1 MiB; never pickle.

Up (worker → server): Greet, Heartbeat, Call, Answer. Down: Greeted, Declined, Sync, Call, Answer. Calls go both ways;
what may be called is in `wire_calls`. Unknown fields are ignored, so new ones may come; an unknown tag is declined
as `unsupported`. The version stands in the handshake: `agree` picks the one to speak.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import PROTOCOL, Heartbeat, Sync, Want
from gpuyard.transport import codec
from gpuyard.transport.codec import Answer, BadFrame, Call, Frame

MAX_FRAME: Final = 1024 * 1024
OLDEST: Final = max(0, PROTOCOL - 1)
"""Versions N and N - 1 are understood."""
CONTROL: Final = "control"
BULK: Final = "bulk"


class Unknown(BadFrame):
    """A well-formed frame of a kind that this version does not know."""


class Greet(Frame, frozen=True, kw_only=True):
    """From a worker, first on each connection: I speak `oldest` to `protocol`. Answered by Greeted or Declined.

    `purpose` is the socket that it means to reach (control or bulk), `version` the program's.
    """

    protocol: int
    oldest: int
    purpose: str = CONTROL
    version: str = ""


class Greeted(Frame, frozen=True, kw_only=True):
    """`protocol` is what both speak from here on. `user_id` is what the server calls the worker.

    `bulk_port` is where the bulk socket listens on the same host, 0 while it does not. Sent again when that changes.
    """

    protocol: int
    user_id: str = ""
    bulk_port: int = 0
    version: str = ""


class Declined(Frame, frozen=True, kw_only=True):
    """The server heeds this connection not at all (`version`, `revoked`), or not that frame (`not_greeted`,
    `unsupported`). `code` is one of `causes.Cause`, `detail` a sentence."""

    code: str
    detail: str = ""


Upward = Greet | Heartbeat | Call | Answer
Downward = Greeted | Declined | Sync | Call | Answer

_encoder = msgspec.msgpack.Encoder()
_upward: msgspec.msgpack.Decoder[Upward] = msgspec.msgpack.Decoder(Upward)
_downward: msgspec.msgpack.Decoder[Downward] = msgspec.msgpack.Decoder(Downward)
_tag = msgspec.msgpack.Decoder(codec.Tag)
_TAGS: Final = frozenset({"Greet", "Greeted", "Declined", "Heartbeat", "Sync", "Call", "Answer"})


def agree(greet: Greet) -> int | None:
    """The newest version that both speak, None when there is none."""
    newest = min(PROTOCOL, greet.protocol)
    return newest if newest >= max(OLDEST, greet.oldest) else None


def pack(frame: Frame | Message) -> bytes:
    """`frame` as bytes. Raises InvalidInput when it would be too large, or holds what can't travel."""
    try:
        data = _encoder.encode(frame)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{type(frame).__name__} can't be sent: {error}") from error
    if len(data) > MAX_FRAME:
        raise InvalidInput(f"too large: {len(data)} bytes at once, {MAX_FRAME} are possible")
    return data


def pack_sync(sync: Sync) -> bytes:
    """A Sync, in a frame that fits: the largest orders (`spec`) are left out until it does.

    The worker does without: a wanted run whose `spec` is missing is started by a later Sync, once those that went
    out now are known there. Raises InvalidInput when it does not fit without any order.
    """
    data = _encoder.encode(sync)
    if len(data) <= MAX_FRAME:
        return data
    orders = {fence: want.spec for fence, want in sync.want.items() if want.spec is not None}
    sizes = {fence: len(_encoder.encode(spec)) for fence, spec in orders.items()}
    size = len(data)
    left_out: set[int] = set()
    for fence in sorted(sizes, key=lambda fence: sizes[fence], reverse=True):
        if size <= MAX_FRAME:
            break
        size -= sizes[fence]
        left_out.add(fence)
    want = {fence: _without_spec(one) if fence in left_out else one for fence, one in sync.want.items()}
    return pack(msgspec.structs.replace(sync, want=want))


def _without_spec(want: Want) -> Want:
    return msgspec.structs.replace(want, spec=None)


def unpack_upward(data: bytes | memoryview) -> Upward:
    """What a worker sent. Raises BadFrame; Unknown for a frame of a kind that is not known here."""
    try:
        return _upward.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _why(data, error) from None


def unpack_downward(data: bytes | memoryview) -> Downward:
    """What the server sent. Raises as `unpack_upward`."""
    try:
        return _downward.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _why(data, error) from None


def _why(data: bytes | memoryview, error: Exception) -> BadFrame:
    try:
        tag = _tag.decode(data).type
    except (msgspec.DecodeError, ValueError, RecursionError):
        return BadFrame(str(error))
    return BadFrame(str(error)) if tag in _TAGS else Unknown(f"a frame {tag[:40]!r} is not known here")
