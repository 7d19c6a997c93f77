"""Tokens: what opens the door, for whom and for what."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ListTokens, MakeToken, RevokeToken
from gpuyard.actors.model.people import Scope
from gpuyard.actors.model.views import TokenMade, TokenView
from gpuyard.api.answers_people import TokenCreated, TokenList
from gpuyard.api.deps import CoreDep, PeopleDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.people import TokenBody

router = APIRouter(prefix="/api/tokens", tags=["people"])


@router.get("", operation_id="list_tokens", responses=answer("list_tokens", TokenList))
async def list_tokens(
    core: CoreDep,
    viewer: ViewerDep,
    user_id: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Of another user, for admins.")] = None,
    all_users: Annotated[bool, Query(description="Everybody's, for admins.")] = False,
) -> Response:
    """Your tokens, newest first: what they are for and when they were last used, never the tokens themselves."""
    message = ListTokens(user_id=user_id, everybody=all_users, by=viewer)
    return JsonResponse(TokenList(tokens=await core.ask(names.PEOPLE, message)))


@router.post("", operation_id="create_token", responses=answer("create_token", TokenCreated))
async def create_token(people: PeopleDep, viewer: ViewerDep, body: TokenBody) -> Response:
    """A new token, shown this once."""
    message = MakeToken(
        name=body.name,
        user_id=body.user_id,
        scopes=tuple(Scope(scope) for scope in body.scopes or ()),
        expires_at=body.expires_at,
        by=viewer,
    )
    made: TokenMade = await people.change(message)
    return JsonResponse(TokenCreated(**msgspec.structs.asdict(made.token), token=made.secret))


@router.delete("/{token_id}", operation_id="revoke_token", responses=answer("revoke_token", TokenView))
async def revoke_token(
    people: PeopleDep, viewer: ViewerDep, token_id: Annotated[int, Path(ge=1, le=2**63 - 1)]
) -> Response:
    """The token opens no door from now on; streams that it opened end. Your own, or (admins) anybody's."""
    return JsonResponse(await people.change(RevokeToken(token_id=token_id, by=viewer)))
