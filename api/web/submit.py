"""Submitting from the page: the configs that there are; the form itself is the browser's business."""

from __future__ import annotations

from gpuyard.api.web.regions import Asked, Context, region


@region("configs", watch="")
async def configs(asked: Asked) -> Context:
    return {"configs": (await asked.get("/api/configs"))["configs"]}
