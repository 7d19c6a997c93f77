"""Request bodies: bounded, in time, and strict JSON, before a route sees them.

What the standard parser lets through and storage would choke on is refused here: NaN and Infinity, lone surrogates,
bytes that are not UTF-8 (400, not JSON), NUL in strings and integers beyond 64 bits (422). Of duplicate keys the
last one counts, as in every JSON parser that our clients use.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.api.errors import Malformed, RequestTimeout, TooLarge, WrongMediaType
from gpuyard.api.heads import Head
from gpuyard.api.settings import Settings

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# Where a list of bodies is taken, which may be longer than one.
LIST_PATHS = frozenset({"/api/queue/submit"})
JSON_TYPES = frozenset({"application/json", "application/json;charset=utf-8"})
SMALLEST, LARGEST = -(2**63), 2**63 - 1

_SUSPICIOUS = re.compile(rb"\\u0000|[0-9]{19}")


class ClientGone(Exception):
    """The client hung up while sending: nobody waits for an answer."""


async def read(head: Head, receive: Receive, settings: Settings) -> bytes:
    """The whole body. Raises WrongMediaType, TooLarge, RequestTimeout, Malformed, InvalidInput."""
    wide = head.scope["method"] == "POST" and head.scope["path"] in LIST_PATHS
    most = settings.submit_list_limit if wide else settings.body_limit
    _check_length(head.one(b"content-length"), most)
    try:
        async with asyncio.timeout(settings.body_timeout):
            body = await _collect(receive, settings.body_limit, most)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {settings.body_timeout:g} s") from None
    if body:
        _check_type(head)
        check_json(body)
    return body


def _check_length(declared: str, most: int) -> None:
    if not declared:
        return
    if not (declared.isascii() and declared.isdigit()):
        raise Malformed("Content-Length is not a number")
    if len(declared) > 18 or int(declared) > most:
        raise TooLarge(f"the body is larger than {most // 1024} KiB")


async def _collect(receive: Receive, most: int, most_of_list: int) -> bytes:
    """The chunks together; a body that begins with `[` may grow to `most_of_list`, any other to `most`."""
    body = bytearray()
    limit = most
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if limit < most_of_list and body[:64].lstrip()[:1] == b"[":
            limit = most_of_list
        if len(body) > limit:
            raise TooLarge(f"the body is larger than {limit // 1024} KiB")
        if not message.get("more_body", False):
            return bytes(body)


def _check_type(head: Head) -> None:
    if head.one(b"content-type").lower().replace(" ", "").replace('"', "") not in JSON_TYPES:
        raise WrongMediaType("a body must be JSON: send Content-Type: application/json")
    if head.one(b"content-encoding").lower() not in ("", "identity"):
        raise WrongMediaType("a compressed body is not taken")


def check_json(body: bytes) -> None:
    """Raises Malformed or InvalidInput unless `body` is JSON that every part of the system can hold."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if _SUSPICIOUS.search(body):
        _check_values(value, "body")


def _check_values(value: Any, where: str) -> None:
    """Walk a decoded body; `where` names the place for the message."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput(f"{where}: NUL is not allowed in a string", field=where)
    elif isinstance(value, int):
        if not SMALLEST <= value <= LARGEST:
            raise InvalidInput(f"{where}: an integer must fit into 64 bits", field=where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{where}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                raise InvalidInput(f"{where}: NUL is not allowed in a name", field=where)
            _check_values(item, key if where == "body" else f"{where}.{key}")
