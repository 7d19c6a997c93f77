"""JSON answers, encoded by msgspec: views go out as they are, without the tag that they carry on a link."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from starlette.background import BackgroundTask
from starlette.responses import Response

_encoder = msgspec.json.Encoder()


def _mentions_tagged(annotation: Any) -> bool:
    """May a value of this type hold a tagged struct somewhere?"""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation.__struct_config__.tag is not None or bool(_nested(annotation))
    return any(_mentions_tagged(arg) for arg in typing.get_args(annotation))


@cache
def _nested(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of `cls` that may hold tagged structs; the encoder does all others in C."""
    hints = typing.get_type_hints(cls)
    return tuple(name for name in cls.__struct_fields__ if _mentions_tagged(hints[name]))


def public(value: Any) -> Any:
    """`value` as the public may see it: every view a plain dict without its `type` tag.

    >>> from gpuyard.actors.model.views import QueueProcessed
    >>> public(QueueProcessed(job_ids=["a"]))
    {'job_ids': ['a']}
    """
    if isinstance(value, msgspec.Struct):
        fields = {key: item for key, item in msgspec.structs.asdict(value).items() if item is not msgspec.UNSET}
        for name in _nested(type(value)):
            if name in fields:
                fields[name] = public(fields[name])
        return {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    return value


class JsonResponse(Response):
    """A view, a struct, or plain data of them, as JSON."""

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, None, background)

    def render(self, content: Any) -> bytes:
        return _encoder.encode(public(content))
