"""Templates → HTML. Everything is escaped: names of jobs, logs and reasons are what strangers wrote."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from gpuyard.api.web import assets, words
from gpuyard.api.web.shared import Drawn

HERE: Final = Path(__file__).parent
# Nothing from elsewhere, nothing inline: a name that smuggles in a script finds no way to run it.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
WORTH_PACKING: Final = 1_000


@cache
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=assets.address, symbol=words.symbol, title=words.title, command_line=words.command_line)
    made.filters.update(
        duration=words.duration,
        since=words.seconds_between,
        gpus=words.gpus,
        gib=words.gib,
        symbol=words.symbol,
        moment=words.moment,
        told=words.told,
        storied=words.storied,
    )
    return made


def framed(name: str, drawn: Drawn, id: str | None) -> Markup:
    """One region in its place on a page, marked so that the browser can follow it; `id` is what it is about."""
    return Markup('<section class="region" data-region="{}" data-tag="{}"{}>{}</section>').format(
        name, drawn.tag, Markup(' data-id="{}"').format(id) if id is not None else "", Markup(drawn.html)
    )


def render(template: str, context: dict[str, Any]) -> str:
    return environment().get_template(template).render(context)


def page(request: Request, html: str, status: int = 200) -> Response:
    """An answer with its tag: who has the same already gets 304 and no body."""
    body = html.encode()
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "no-cache, private",
        "Content-Security-Policy": POLICY,
        "Vary": "Accept-Encoding, Cookie",
    }
    if status == 200 and request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return packed(request, body, "text/html; charset=utf-8", headers, status)


def packed(request: Request, body: bytes, kind: str, headers: dict[str, str], status: int = 200) -> Response:
    """Smaller on the way, where that is worth it and the browser takes it."""
    if len(body) >= WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(gzip.compress(body, 1), status, {**headers, "Content-Encoding": "gzip"}, kind)
    return Response(body, status, headers, kind)
