"""What becomes of teams: added, renamed, deleted once nobody is in them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gpuyard.actors.model import bounds
from gpuyard.actors.model.accounts import (
    TEAM,
    Accounts,
    Change,
    Team,
    require_admin,
    team_row,
    team_view,
)
from gpuyard.actors.model.commands import AddTeam, ChangeTeam, RemoveTeam
from gpuyard.actors.model.errors import InvalidInput, WrongState
from gpuyard.actors.model.registers import DropRecord, audit_line
from gpuyard.actors.model.views import TeamView

TEAM_ID: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
MOST_TEAMS: Final = 1_000


def listed(accounts: Accounts) -> list[TeamView]:
    return [team_view(accounts, accounts.teams[team_id]) for team_id in sorted(accounts.teams)]


def add(accounts: Accounts, command: AddTeam, now: float) -> Change:
    """Raises NotAllowed, InvalidInput."""
    require_admin(command.by, "add teams")
    name = _name(accounts, command.name)
    team_id = command.team_id or re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64]
    if not bounds.matches(TEAM_ID, team_id):
        raise InvalidInput(
            "team_id must be 1 to 64 small letters, digits, dashes and underscores, beginning with a letter or digit",
            field="team_id",
        )
    if team_id in accounts.teams:
        raise InvalidInput(f"there is a team {team_id} already", field="team_id")
    if len(accounts.teams) >= MOST_TEAMS:
        raise InvalidInput(f"there are {MOST_TEAMS} teams: no more are possible", field="name")
    team = Team(id=team_id, name=name, created_at=now)
    after = accounts.with_teams(team)
    line = audit_line(command.by, now, "team_added", f"team {team_id}", command.cause, name=name)
    return Change(after, (team_row(team), line), team_view(after, team))


def change(accounts: Accounts, command: ChangeTeam, now: float) -> Change:
    """Raises NotAllowed, NotFound, InvalidInput."""
    require_admin(command.by, "change teams")
    team = accounts.team(command.team_id)
    changed = msgspec.structs.replace(team, name=_name(accounts, command.name, team))
    if changed == team:
        return Change(accounts, (), team_view(accounts, team))
    after = accounts.with_teams(changed)
    line = audit_line(command.by, now, "team_changed", f"team {team.id}", command.cause, name=changed.name)
    return Change(after, (team_row(changed), line), team_view(after, changed))


def remove(accounts: Accounts, command: RemoveTeam, now: float) -> Change:
    """Raises NotAllowed, NotFound, WrongState."""
    require_admin(command.by, "delete teams")
    team = accounts.team(command.team_id)
    members = team_view(accounts, team).members
    if members:
        raise WrongState(f"team {team.id} has {len(members)} members: give them another team first")
    after = msgspec.structs.replace(
        accounts, teams={id: other for id, other in accounts.teams.items() if id != team.id}
    )
    line = audit_line(command.by, now, "team_removed", f"team {team.id}", command.cause, name=team.name)
    return Change(after, (DropRecord(TEAM, {"id": team.id}), line))


def _name(accounts: Accounts, name: str, own: Team | None = None) -> str:
    try:
        found = bounds.name(name)
    except ValueError as error:
        raise InvalidInput(f"name {error}", field="name") from None
    for team in accounts.teams.values():
        if team is not own and team.name.casefold() == found.casefold():
            raise InvalidInput(f"there is a team named {team.name} already", field="name")
    return found
