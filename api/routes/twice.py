"""`/api/cloud/jobs…` is a second name of `/api/jobs…`: one function, two routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from fastapi import APIRouter

from gpuyard.api.documents import answer

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

# (address, what stands before the operation id)
PREFIXES: Final = (("/api/jobs", ""), ("/api/cloud/jobs", "cloud_"))


def job_route(
    router: APIRouter, method: str, path: str, operation: str, kind: type[msgspec.Struct] | None = None, **extra: Any
) -> Callable[[Endpoint], Endpoint]:
    """Route `method path` below both prefixes to the function; `kind` is what it answers."""
    if kind is not None:
        extra["responses"] = answer(operation, kind)

    def add(endpoint: Endpoint) -> Endpoint:
        for prefix, alias in PREFIXES:
            router.add_api_route(prefix + path, endpoint, methods=[method], operation_id=alias + operation, **extra)
        return endpoint

    return add
