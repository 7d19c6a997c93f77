"""Users: who there is, at which level, in which team."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from msgspec import UNSET
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AddUser, ChangeUser, ListUsers, RemoveUser
from gpuyard.actors.model.views import UserAdded, UserView
from gpuyard.api.answers_people import Me, UserCreated, UserGone, UserList
from gpuyard.api.deps import CoreDep, PeopleDep, ScopesDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.people import NewUserBody, UserBody

router = APIRouter(prefix="/api/users", tags=["people"])

UserId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("", operation_id="list_users", responses=answer("list_users", UserList))
async def list_users(core: CoreDep, viewer: ViewerDep) -> Response:
    """All users, by id."""
    users: list[UserView] = await core.ask(names.PEOPLE, ListUsers(by=viewer))
    return JsonResponse(UserList(users=users, total=len(users)))


@router.post("", operation_id="add_user", responses=answer("add_user", UserCreated))
async def add_user(people: PeopleDep, viewer: ViewerDep, body: NewUserBody) -> Response:
    """Add a user; answers its first token, this once. The first user must be an admin and ends single-user mode.

    From then on everybody needs a token, the owner of the server too. The first user takes over the jobs of
    single-user mode.
    """
    message = AddUser(username=body.username, level=body.level, team_id=body.team_id, by=viewer)
    added: UserAdded = await people.change(message)
    token = added.made
    user = msgspec.structs.asdict(added.user)
    return JsonResponse(UserCreated(**user, token=token.secret, token_id=token.token.id, first=added.first))


@router.get("/me", operation_id="who_am_i", responses=answer("who_am_i", Me))
async def who_am_i(viewer: ViewerDep, scopes: ScopesDep) -> Response:
    """Who you are here, and what your token may be used for."""
    return JsonResponse(
        Me(
            id=viewer.user_id,
            username=viewer.username,
            level=viewer.level.name.lower(),
            team_id=viewer.team_id,
            token_id=viewer.token_id,
            scopes=[str(scope) for scope in scopes],
            single_user=viewer.token_id is None,
            address=viewer.address,
        )
    )


@router.patch("/{user_id}", operation_id="change_user", responses=answer("change_user", UserView))
async def change_user(people: PeopleDep, viewer: ViewerDep, user_id: UserId, body: UserBody) -> Response:
    """Change a user's name, level or team, or shut it out (`disabled`). In force at once, open streams included.

    Jobs that wait keep the priority and team that they were submitted with.
    """
    given = {name: getattr(body, name) for name in body.model_fields_set}
    message = ChangeUser(
        user_id=user_id,
        username=given.get("username", UNSET),
        level=given.get("level", UNSET),
        team_id=given.get("team_id", UNSET),
        disabled=given.get("disabled", UNSET),
        by=viewer,
    )
    return JsonResponse(await people.change(message))


@router.delete("/{user_id}", operation_id="remove_user", responses=answer("remove_user", UserGone))
async def remove_user(people: PeopleDep, viewer: ViewerDep, user_id: UserId) -> Response:
    """Delete a user and its tokens. Its jobs stay, those that wait or run go on; its id is never given again."""
    await people.change(RemoveUser(user_id=user_id, by=viewer))
    return JsonResponse(UserGone(id=user_id))
