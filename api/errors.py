"""Errors as HTTP answers (CONTRACT "Rules for every route"): one table from `code` to status, one body for all.

A route raises a GpuyardError (or lets one from an actor pass) and this file does the rest. The body is
`{detail, code, request_id}`, for 422 with `errors: [{field, message}]`; never a traceback, never a path.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gpuyard.actors.model.errors import GpuyardError, Internal

log = logging.getLogger("gpuyard.api")


class Malformed(GpuyardError):
    """The request is not well formed: not JSON, or bytes where they must not be."""

    code = "malformed"


class Unauthenticated(GpuyardError):
    """No credential, or one that is not valid: send `Authorization: Bearer TOKEN`."""

    code = "unauthenticated"


class CrossSite(GpuyardError):
    """A web page of another site drives the browser: refused before anything else."""

    code = "cross_site"


class TlsNeeded(GpuyardError):
    """The request came unencrypted from beyond this machine: its credentials would be read on the way."""

    code = "tls_needed"


class RequestTimeout(GpuyardError):
    """The request's body did not arrive in time."""

    code = "request_timeout"


class TooLarge(GpuyardError):
    """The body is over the cap: 256 KiB, 8 MiB for the list form of submit."""

    code = "too_large"


class WrongMediaType(GpuyardError):
    """A body that is not `application/json`."""

    code = "unsupported_media_type"


class WrongHost(GpuyardError):
    """The Host header names another server: DNS rebinding, or a name that is not configured."""

    code = "wrong_host"


class RateLimited(GpuyardError):
    """Too many requests by this identity: wait as Retry-After says."""

    code = "rate_limited"


class HeadTooLarge(GpuyardError):
    """Too many or too long headers, or a too long address."""

    code = "headers_too_large"


STATUS: dict[str, int] = {
    "malformed": 400,
    "unauthenticated": 401,
    "not_allowed": 403,
    "cross_site": 403,
    "tls_needed": 403,
    "not_found": 404,
    "not_active": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "wrong_state": 409,
    "idempotency_conflict": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "wrong_host": 421,
    "invalid_input": 422,
    "too_many_pending": 429,
    "rate_limited": 429,
    "headers_too_large": 431,
    "busy": 503,
    "unavailable": 503,
    "store_failed": 503,
    "timed_out": 503,
    "database_refused": 503,
}
CODES = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
RETRY_AFTER = {429: "1", 503: "1"}


def body_of(detail: str, code: str, request_id: str, errors: Sequence[dict[str, str]] = ()) -> bytes:
    """The one error body."""
    body: dict[str, Any] = {"detail": detail, "code": code, "request_id": request_id}
    if errors:
        body["errors"] = list(errors)
    return msgspec.json.encode(body)


def error_response(error: GpuyardError, request_id: str) -> Response:
    """`error` as an answer. What is unknown to the table is a bug: 500, with nothing of it but its code."""
    status = STATUS.get(error.code, 500)
    detail = error.detail if status != 500 else "internal error: the server's log has it under this request id"
    errors: list[dict[str, str]] = []
    if status == 422:
        errors = error.data.get("errors") or [{"field": str(error.data.get("field", "body")), "message": error.detail}]
    headers = {"Retry-After": str(error.data.get("retry_after", RETRY_AFTER[status]))} if status in RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(body_of(detail, error.code, request_id, errors), status, headers, "application/json")


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def _field(location: Sequence[Any]) -> str:
    """`("body", "limits", 0)` → `limits.0`; a problem of the whole body is `body`."""
    inner = [str(part) for part in location[1:] if not (isinstance(part, str) and part.startswith("function-"))]
    return ".".join(inner) or str(location[0] if location else "body")


async def on_gpuyard_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GpuyardError)
    if STATUS.get(error.code, 500) == 500:
        log.error("%s %s failed: %s", request.method, request.url.path, error, extra={"cause": request_id_of(request)})
    return error_response(error, request_id_of(request))


async def on_invalid(request: Request, error: Exception) -> Response:
    """What pydantic refuses: 422, the first problem as the sentence, all as `errors`."""
    assert isinstance(error, RequestValidationError)
    problems = [{"field": _field(e["loc"]), "message": str(e["msg"])} for e in error.errors()[:20]]
    first = problems[0]
    detail = f"{first['field']}: {first['message']}"
    body = body_of(detail, "invalid_input", request_id_of(request), problems)
    return Response(body, 422, media_type="application/json")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown address 404, wrong method 405, a body it can't read 400."""
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "error")
    detail = {404: "there is nothing at this address", 405: f"{request.method} is not possible here"}.get(
        error.status_code, str(error.detail) if error.detail else HTTPStatus(error.status_code).phrase
    )
    headers = dict(error.headers or {})
    return Response(
        body_of(detail, code, request_id_of(request)), error.status_code, headers, media_type="application/json"
    )


async def on_bug(request: Request, error: Exception) -> Response:
    """Anything else: the log gets the traceback, the asker the request id."""
    log.exception("%s failed at %s %s", request_id_of(request), request.method, request.url.path, exc_info=error)
    return error_response(Internal("bug"), request_id_of(request))


def install(app: FastAPI) -> None:
    """Make all of the above `app`'s way of answering errors."""
    app.add_exception_handler(GpuyardError, on_gpuyard_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_exception)


def documented() -> dict[int | str, dict[str, Any]]:
    """The error statuses of every route, for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/Error"}
    texts = {
        400: "malformed request",
        401: "no or bad credential",
        403: "not allowed",
        404: "unknown id",
        405: "wrong method",
        408: "the body did not arrive in time",
        409: "wrong state for the verb",
        413: "body too large",
        415: "the body is not JSON",
        421: "wrong Host",
        422: "a value is not allowed",
        429: "too many requests (Retry-After)",
        431: "headers too large",
        503: "starting, busy or disk full (Retry-After)",
    }
    return {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text in texts.items()
    }
