"""The bodies of requests about users, teams and tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gpuyard.actors.model import bounds, secrets
from gpuyard.actors.model.accounts_teams import TEAM_ID
from gpuyard.actors.model.accounts_users import USERNAME
from gpuyard.api.schemas import fields
from gpuyard.api.schemas.fields import Strict, checked, rule


def _matching(pattern: str, words: str) -> object:
    def check(value: object) -> str:
        if not isinstance(value, str) or not bounds.matches(pattern, value):
            raise ValueError(words)
        return value

    return checked(check, str, json_schema_extra={"pattern": pattern})


def _label(value: object) -> str:
    return bounds.text(value, 64).strip()


def _scopes(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(scope in ("read", "submit", "admin") for scope in value):
        raise ValueError("must be a list of read, submit and admin")
    return value


Level = Literal["viewer", "researcher", "lead", "admin"]
Username = Annotated[
    str,
    _matching(USERNAME, "must be 1 to 64 letters, digits, dots, dashes, underscores and @, beginning with a letter"),
]
TeamId = Annotated[str, _matching(TEAM_ID, "must be 1 to 64 small letters, digits, dashes and underscores")]


# Bounded before it is hashed; how long a new one must be is a rule of accounts.
Password = Annotated[str, rule(lambda value: bounds.text(value, 256, controls=True), str)]


class NewUserBody(Strict):
    """The first user must be an admin, and ends single-user mode."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "ann", "level": "researcher"}]})

    username: Username
    level: Level
    team_id: TeamId | None = None


class UserBody(Strict):
    """Only what is there changes; `team_id` null takes the user out of the team."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"level": "lead"}, {"disabled": True}]})

    username: Username | None = None
    level: Level | None = None
    team_id: TeamId | None = None
    disabled: bool | None = None

    @model_validator(mode="after")
    def _something(self) -> UserBody:
        if not self.model_fields_set:
            raise PydanticCustomError("not_allowed", "give at least one of username, level, team_id and disabled")
        for name in self.model_fields_set - {"team_id"}:
            if getattr(self, name) is None:
                raise PydanticCustomError("not_allowed", "{name} must not be null", {"name": name})
        return self


class PasswordBody(Strict):
    """12 to 256 characters; null takes the password away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery staple"}]})

    password: Password | None


class LogInBody(Strict):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "ann", "password": "correct horse battery staple"}]}
    )

    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password


class NewTeamBody(Strict):
    """Without `team_id` the id is made from the name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Vision"}]})

    name: fields.Name
    team_id: TeamId | None = None


class TeamBody(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Computer vision"}]})

    name: fields.Name


class TokenBody(Strict):
    """A token of your own, or (admins) of `user_id`. Without `scopes` it may do all that its user may."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "ci", "scopes": ["read", "submit"], "expires_at": "2027-01-01T00:00Z"}]
        }
    )

    name: Annotated[str, rule(_label, str), Field(description="Where it is used, for people.")] = ""
    user_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    scopes: (
        Annotated[
            list[str],
            rule(_scopes, list[Literal["read", "submit", "admin"]]),
            Field(description="read looks, submit puts jobs in the queue and acts on them, admin does all else."),
        ]
        | None
    ) = None
    expires_at: fields.Moment | None = None


class SecretBody(Strict):
    """`value` is at most 16 KiB of text; `env` the variable that a run finds it in, without it that of before, else the
    secret's name in capitals."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "hf_xxxxxxxxxxxxxxxx", "env": "HF_TOKEN"}]})

    value: Annotated[str, rule(secrets.content, str)]
    env: Annotated[str, rule(secrets.variable, str)] | None = None
