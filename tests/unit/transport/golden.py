"""Golden frames: how each message and answer looked on the wire when it was first written.

    python -m tests.unit.transport.golden

adds what is missing to golden.json and changes nothing that is there: fields are never renamed or retyped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.commit import EventRow
from gpuyard.transport import calls, codec, wire_calls, wire_codec as wire
from tests.unit.transport.samples import alternatives, sample

WIRE_TABLES = [table for table in vars(wire_calls).values() if isinstance(table, calls.Table)]
WIRE_CALLS = {message: kind for table in WIRE_TABLES for message, kind in table.answers().items()}
FILE = Path(__file__).with_suffix(".json")


def frames() -> Iterator[tuple[str, bytes]]:
    """Everything that travels on the link, by name."""
    for message, kind in calls.answers().items():
        yield f"call {message.__name__}", codec.pack_call(41, "scheduler", sample(message))
        for value in alternatives(kind):
            one = value[0] if isinstance(value, list) else value
            yield f"answer {message.__name__}: {type(one).__name__}", codec.pack_value(41, value)
    yield "Hello", codec.pack(codec.Hello())
    yield "Welcome", codec.pack(codec.Welcome(revision=41))
    yield "error", codec.pack(codec.Answer(id=41, code="not_found", detail="no such job", data={"job_id": "x"}))
    published = codec.Published(events=(sample(EventRow),), revision=41, missed=True)
    yield "Published", codec.pack(published)
    yield from wire_frames()


def wire_frames() -> Iterator[tuple[str, bytes]]:
    """Everything that travels between hosts."""
    for kind in (wire.Greet, wire.Heartbeat):
        yield f"up {kind.__name__}", wire.pack(sample(kind))
    for kind in (wire.Greeted, wire.Declined, wire.Sync):
        yield f"down {kind.__name__}", wire.pack(sample(kind))
    for message, kind in WIRE_CALLS.items():
        yield f"wire-call {message.__name__}", codec.pack_call(41, "there", sample(message))
        yield f"wire-answer {message.__name__}", codec.pack_value(41, alternatives(kind)[0])


def content(name: str, frame: bytes) -> Any:
    """What a frame says, as plain JSON data, read by today's code."""
    return json.loads(msgspec.json.encode(_said(name, frame)))


def _said(name: str, frame: bytes) -> Any:
    kind, _, rest = name.partition(" ")
    if kind in ("up", "down", "wire-call", "wire-answer"):
        return _said_on_the_wire(kind, rest, frame)
    by_name = {message.__name__: message for message in calls.answers()}
    if kind == "call":
        call = codec.unpack_upward(frame)
        assert isinstance(call, codec.Call)
        to = next(name for name in sorted(calls.EVERY_ACTOR) if by_name[rest] in calls.allowed(name))
        return codec.message_of(msgspec.structs.replace(call, to=to))
    if kind == "answer":
        answer = codec.unpack_downward(frame)
        assert isinstance(answer, codec.Answer)
        return codec.value_of(answer, by_name[rest.partition(":")[0]])
    if kind == "Hello":
        return codec.unpack_upward(frame)
    envelope = msgspec.structs.asdict(codec.unpack_downward(frame))
    envelope.pop("value", None)
    return envelope


def _said_on_the_wire(kind: str, name: str, frame: bytes) -> Any:
    if kind == "up":
        return wire.unpack_upward(frame)
    if kind == "down":
        return wire.unpack_downward(frame)
    message = next(message for message in WIRE_CALLS if message.__name__ == name)
    table = next(table for table in WIRE_TABLES if message in table.answers())
    if kind == "wire-answer":
        answer = wire.unpack_upward(frame)
        assert isinstance(answer, codec.Answer)
        return codec.value_of(answer, message, table)
    call = wire.unpack_downward(frame)
    assert isinstance(call, codec.Call)
    to = next(to for to in vars(names).values() if isinstance(to, str) and message in table.allowed(to))
    return codec.message_of(msgspec.structs.replace(call, to=to), table)


def load() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main() -> None:
    known = load()
    for name, frame in frames():
        if name not in known:
            known[name] = {"frame": frame.hex(), "content": content(name, frame)}
    lines = [f"{json.dumps(name)}: {json.dumps(known[name], ensure_ascii=False)}" for name in sorted(known)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
