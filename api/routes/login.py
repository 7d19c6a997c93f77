"""The page's log-in: a password once, then a cookie for half a day. Programs use tokens."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from gpuyard.actors.model.accounts_tokens import SESSION
from gpuyard.actors.model.commands import LogIn, MakeToken, RevokeToken, SetPassword
from gpuyard.actors.model.errors import WrongState
from gpuyard.actors.model.views import TokenMade
from gpuyard.api.answers_people import Done, LoggedIn
from gpuyard.api.deps import PeopleDep, ScopesDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.errors import Unauthenticated
from gpuyard.api.identity import cookie_name
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.people import LogInBody, PasswordBody

router = APIRouter(prefix="/api", tags=["people"])

PAGE: Final = "page"


@router.post("/login", operation_id="log_in", responses=answer("log_in", LoggedIn))
async def log_in(people: PeopleDep, request: Request, body: LogInBody) -> Response:
    """Log in on the page: the answer's cookie is a token for 12 hours, which no script can read."""
    address = request.client.host if request.client else ""
    request.app.state.logins.take(address, body.username)
    message = LogIn(username=body.username, password=body.password, address=address)
    made: TokenMade | None = await people.change(message, timeout=30.0)
    if made is None:
        raise Unauthenticated("username and password do not belong together")
    token = made.token
    done = JsonResponse(LoggedIn(username=token.username, token_id=token.id, expires_at=token.expires_at))
    _set_cookie(request, done, made.secret, int(SESSION))
    return done


@router.post("/login/token", operation_id="log_in_by_token", responses=answer("log_in_by_token", LoggedIn))
async def log_in_by_token(people: PeopleDep, viewer: ViewerDep, scopes: ScopesDep, request: Request) -> Response:
    """Log in on the page with the token that asks (as `Authorization: Bearer`): it becomes a log-in of its own, with
    the token's scopes, for 12 hours; the token itself stays with whoever has it."""
    if viewer.token_id is None:
        raise WrongState("there are no users yet, so nobody logs in")
    message = MakeToken(name=PAGE, scopes=scopes, expires_at=time.time() + SESSION, by=viewer)
    made: TokenMade = await people.change(message)
    token = made.token
    done = JsonResponse(LoggedIn(username=token.username, token_id=token.id, expires_at=token.expires_at))
    _set_cookie(request, done, made.secret, int(SESSION))
    return done


@router.post("/logout", operation_id="log_out", responses=answer("log_out", Done))
async def log_out(people: PeopleDep, viewer: ViewerDep, request: Request) -> Response:
    """Revoke the token that asks: this log-in has ended."""
    if viewer.token_id is None:
        raise WrongState("there are no users yet, so nobody is logged in")
    await people.change(RevokeToken(token_id=viewer.token_id, by=viewer))
    done = JsonResponse(Done())
    _set_cookie(request, done, "", 0)
    return done


@router.put("/users/{user_id}/password", operation_id="set_password", responses=answer("set_password", Done))
async def set_password(
    people: PeopleDep, viewer: ViewerDep, user_id: Annotated[int, Path(ge=1, le=2**63 - 1)], body: PasswordBody
) -> Response:
    """Set the password for the page's log-in, your own or (admins) anybody's. Log-ins with the one of before end."""
    message = SetPassword(user_id=user_id, password=body.password, by=viewer)
    await people.change(message, timeout=30.0)
    return JsonResponse(Done())


def _set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    scheme = request.scope["scheme"]
    response.set_cookie(
        cookie_name(scheme),
        value,
        max_age=seconds,
        path="/",
        secure=scheme == "https",
        httponly=True,
        samesite="strict",
    )
