"""Job secrets: your own, which your jobs name. A value goes in here and never comes out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import DeleteSecret, ListSecrets, SetSecret
from gpuyard.actors.model.views import SecretView
from gpuyard.api.answers_people import SecretList
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.people import SecretBody

router = APIRouter(prefix="/api/secrets", tags=["people"])

SecretName = Annotated[str, Path(min_length=1, max_length=64)]


@router.get("", operation_id="list_secrets", responses=answer("list_secrets", SecretList))
async def list_secrets(core: CoreDep, viewer: ViewerDep) -> Response:
    """Your secrets by name: which variable, when set, when last used; never what they are."""
    return JsonResponse(SecretList(secrets=await core.ask(names.SECRETS, ListSecrets(by=viewer))))


@router.put("/{name}", operation_id="set_secret", responses=answer("set_secret", SecretView))
async def set_secret(core: CoreDep, viewer: ViewerDep, name: SecretName, body: SecretBody) -> Response:
    """Keep a value as your secret of this name, in the place of one of before.

    Your jobs that name it find the value in the environment variable, from their next start on.
    """
    message = SetSecret(name=name, value=body.value, variable=body.env or "", by=viewer)
    return JsonResponse(await core.ask(names.SECRETS, message))


@router.delete("/{name}", operation_id="delete_secret", responses=answer("delete_secret", SecretView))
async def delete_secret(core: CoreDep, viewer: ViewerDep, name: SecretName) -> Response:
    """Delete your secret. Runs that have it keep it; jobs that wait for it fail when they start."""
    return JsonResponse(await core.ask(names.SECRETS, DeleteSecret(name=name, by=viewer)))
