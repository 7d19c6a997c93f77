"""The OpenAPI document at /openapi.json: what FastAPI can't know by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from gpuyard.api.documents import components as answer_components

ERROR: dict[str, Any] = {
    "type": "object",
    "title": "Error",
    "description": "Every error has this body; `detail` is always one sentence.",
    "required": ["detail", "code", "request_id"],
    "properties": {
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "snake_case, for programs"},
        "request_id": {"type": "string", "description": "also in the server's log"},
        "errors": {
            "type": "array",
            "description": "with 422: every problem",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "example": {
        "detail": "num_processes: Input should be less than or equal to 1024",
        "code": "invalid_input",
        "request_id": "9f2c51d07a3be846",
        "errors": [{"field": "num_processes", "message": "Input should be less than or equal to 1024"}],
    },
}
SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe(app: FastAPI) -> None:
    """Put the error body and the credentials into `app`'s document, which is made when first asked for."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(answer_components(), Error=ERROR)
            components["securitySchemes"] = SECURITY
            document["security"] = [{}, {"bearer": []}, {"apiKey": []}]
            for unused in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(unused, None)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
