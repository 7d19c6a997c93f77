"""The page's own files: read once, packed once, named by their content, so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "assets"
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
NAMES: Final = tuple(sorted(path.name for path in FOLDER.iterdir() if path.suffix in KINDS))
FOR_EVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    body: bytes
    packed: bytes
    digest: str
    kind: str


@cache
def read(name: str) -> Asset:
    body = (FOLDER / name).read_bytes()
    digest = hashlib.blake2b(body, digest_size=8).hexdigest()
    return Asset(body, gzip.compress(body, 9, mtime=0), digest, KINDS[Path(name).suffix])


def address(name: str) -> str:
    """Where a page finds it: another content has another address."""
    return f"/assets/{name}?v={read(name).digest}"


def _serve(name: str) -> None:
    async def serve(request: Request) -> Response:
        asset = read(name)
        # Modules import each other by their bare names: these are asked for again, and are seldom new.
        fresh = request.query_params.get("v") == asset.digest
        headers = {
            "Cache-Control": FOR_EVER if fresh else "no-cache",
            "ETag": f'"{asset.digest}"',
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(None, 304, headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, 200, {**headers, "Content-Encoding": "gzip"}, asset.kind)
        return Response(asset.body, 200, headers, asset.kind)

    router.add_api_route(f"/assets/{name}", serve, methods=["GET"], name=f"asset {name}")


for _name in NAMES:
    _serve(_name)
