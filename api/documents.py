"""The OpenAPI side of answers: schemas out of the structs, an example for each route."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gpuyard.actors.model import approvals, limits, views
from gpuyard.api import (
    answers,
    answers_charts,
    answers_cloud,
    answers_people,
    answers_rules,
    answers_usage,
    answers_webhooks,
    answers_workers,
)
from gpuyard.api.examples import EXAMPLES

PLACE: Final = "#/components/schemas/{name}"

SHOWN: Final[tuple[type[msgspec.Struct], ...]] = (
    limits.Limits,
    approvals.ApprovalRule,
    views.MyQueue,
    views.AuditEntry,
    views.UserView,
    views.TeamView,
    views.TokenView,
    views.SecretView,
    views.WebhookView,
    views.WebhookTested,
    views.DeliveryView,
    views.WorkerView,
    views.ProviderView,
    *(
        kind
        for module in (
            answers,
            answers_charts,
            answers_cloud,
            answers_people,
            answers_rules,
            answers_workers,
            answers_usage,
            answers_webhooks,
        )
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
    ),
)


def components() -> dict[str, Any]:
    """The schemas of all answers, by name, without the tag that views carry on a link."""
    _, found = msgspec.json.schema_components(SHOWN, ref_template=PLACE)
    for name, schema in found.items():
        # The tag that a view carries; a rule has a `type` of its own.
        if schema.get("properties", {}).get("type", {}).get("enum") != [name]:
            continue
        del schema["properties"]["type"]
        schema["required"] = [field for field in schema.get("required", ()) if field != "type"]
    return found


def answer(
    operation: str, kind: type[msgspec.Struct], listed: bool = False, table: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what 200 holds and an example. `listed`: a list of it is possible too; `table`: so is
    a table for spreadsheets (CSV)."""
    schema: dict[str, Any] = {"$ref": PLACE.format(name=kind.__name__)}
    if listed:
        schema = {"oneOf": [schema, {"type": "array", "items": schema}]}
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": EXAMPLES[operation]}}
    if table:
        content["text/csv"] = {"schema": {"type": "string"}}
    return {200: {"description": "done", "content": content}}
