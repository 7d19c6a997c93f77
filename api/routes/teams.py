"""Teams: whom fair share counts together."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AddTeam, ChangeTeam, ListTeams, RemoveTeam
from gpuyard.actors.model.views import TeamView
from gpuyard.api.answers_people import TeamGone, TeamList
from gpuyard.api.deps import CoreDep, PeopleDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.people import NewTeamBody, TeamBody

router = APIRouter(prefix="/api/teams", tags=["people"])

TeamId = Annotated[str, Path(min_length=1, max_length=64)]


@router.get("", operation_id="list_teams", responses=answer("list_teams", TeamList))
async def list_teams(core: CoreDep, viewer: ViewerDep) -> Response:
    """All teams, by id."""
    return JsonResponse(TeamList(teams=await core.ask(names.PEOPLE, ListTeams(by=viewer))))


@router.post("", operation_id="add_team", responses=answer("add_team", TeamView))
async def add_team(people: PeopleDep, viewer: ViewerDep, body: NewTeamBody) -> Response:
    """Add a team."""
    message = AddTeam(name=body.name, team_id=body.team_id, by=viewer)
    return JsonResponse(await people.change(message))


@router.patch("/{team_id}", operation_id="change_team", responses=answer("change_team", TeamView))
async def change_team(people: PeopleDep, viewer: ViewerDep, team_id: TeamId, body: TeamBody) -> Response:
    """Give a team another name; its id stays."""
    return JsonResponse(await people.change(ChangeTeam(team_id=team_id, name=body.name, by=viewer)))


@router.delete("/{team_id}", operation_id="remove_team", responses=answer("remove_team", TeamGone))
async def remove_team(people: PeopleDep, viewer: ViewerDep, team_id: TeamId) -> Response:
    """Delete a team that nobody is in."""
    await people.change(RemoveTeam(team_id=team_id, by=viewer))
    return JsonResponse(TeamGone(id=team_id))
