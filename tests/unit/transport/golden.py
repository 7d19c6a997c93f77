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

from gpuyard.actors.model.commit import EventRow
from gpuyard.transport import calls, codec
from tests.unit.transport.samples import alternatives, sample

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


def content(name: str, frame: bytes) -> Any:
    """What a frame says, as plain JSON data, read by today's code."""
    return json.loads(msgspec.json.encode(_said(name, frame)))


def _said(name: str, frame: bytes) -> Any:
    kind, _, rest = name.partition(" ")
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
