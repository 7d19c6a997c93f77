"""What do tokens, levels and scopes cost a submit?

A whole server with users. The same submit by the same admin over 16 connections, in turns: as it is, with a token that
is looked up and a rule that is checked; and at an address of the bench's own where both are left out. Bar: 90 % of the
rate, and at most a tenth more CPU time, which says it on a busy machine too.
Run: python tools/bench/what_do_permissions_cost.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import submit
from fastapi import Request
from harness import Ratio, median, report

OPEN = "/bench/open"
ROUNDS = 24
SECONDS = 0.5


def frontend() -> int:
    """The Frontend's process, with one address where nobody is asked who they are."""
    from fastapi import APIRouter

    from gpuyard.actors.model.people import OWNER
    from gpuyard.api import app, frontend as frontends, routes
    from gpuyard.api.identity import ByToken, Caller, Identity
    from gpuyard.api.permissions import RULES, Rule
    from gpuyard.api.routes.submit import submit_job
    from gpuyard.cli.frontend_process import main

    somebody = Identity(OWNER, "somebody", unlimited=True)
    enforce = app.enforce

    class Unasked(ByToken):
        async def identify(self, caller: Caller) -> Identity:
            return somebody if caller.head.scope["path"] == OPEN else await super().identify(caller)

    async def unchecked(request: Request) -> None:
        if request.url.path != OPEN:
            await enforce(request)

    router = APIRouter()
    router.add_api_route(OPEN, submit_job, methods=["POST"])
    RULES["POST", OPEN] = Rule.VIEWER
    # Where the real one stands: routes are tried one by one, and each miss costs.
    routes.ROUTERS.insert(routes.ROUTERS.index(routes.submit.router), router)
    app.enforce = unchecked
    frontends.ByToken = Unasked  # type: ignore[misc]
    # As good as unlimited: what a request pays for its rate is measured, what it is refused is not.
    frontends.Frontend.__init__.__globals__["create_app"] = _unlimited(app.create_app)
    return main()


def _unlimited(create_app):  # type: ignore[no-untyped-def]
    import msgspec

    def created(core, settings, *more):  # type: ignore[no-untyped-def]
        return create_app(core, msgspec.structs.replace(settings, rate_per_second=1e9, rate_burst=10**9), *more)

    return created


class Turns:
    """Rates (a second) and CPU seconds a submit, of the whole server, turn by turn."""

    def __init__(self, port: int, path: str, header: str = "") -> None:
        self.rates: list[float] = []
        self.costs: list[float] = []
        self._ask = (port, path, submit.BODY, header)

    def take(self, server: Sequence[psutil.Process]) -> None:
        before = used(server)
        self.rates.append(submit.rate(*self._ask))
        self.costs.append((used(server) - before) / (self.rates[-1] * SECONDS))


def used(server: Sequence[psutil.Process]) -> float:
    """CPU seconds of the server's processes so far, which the load of others stretches less than the clock's."""
    times = [process.cpu_times() for process in server]
    return sum(one.user + one.system for one in times)


def main() -> int:
    submit.SECONDS = SECONDS
    with submit.served(__file__) as (port, api):
        api.ask("POST", "/api/queue/submit", {"command": ["/bin/sleep", "600"]})
        user = api.ask("POST", "/api/users", {"username": "root", "level": "admin"})
        supervisor = psutil.Process().children()[0]
        server = [supervisor, *(one for one in supervisor.children() if "what_do_permissions_cost" in one.cmdline())]
        assert len(server) == 2, "the supervisor and its Frontend"
        asked = Turns(port, "/api/queue/submit", f"Authorization: Bearer {user['token']}\r\n")
        unasked = Turns(port, OPEN)
        Turns(port, OPEN).take(server)
        for number in range(ROUNDS):
            # Each goes first as often as the other: the queue grows, and later is slower.
            for turns in (asked, unasked) if number % 2 else (unasked, asked):
                turns.take(server)
        api.token = user["token"]
        api.ask("POST", "/api/jobs/cancel", {"all": True})
        api.wait_idle()
    return report(
        [
            Ratio(
                "submits with token, level and scope checked against unchecked ones",
                median([a / b for a, b in zip(asked.rates, unasked.rates, strict=True)]),
                0.9,
                at_least=True,
                note=f"{median(asked.rates):.0f}/s against {median(unasked.rates):.0f}/s",
            ),
            Ratio(
                "the server's CPU time a submit, checked against unchecked",
                median(asked.costs) / median(unasked.costs),
                1.1,
                note=f"{median(asked.costs) * 1e6:.0f} µs against {median(unasked.costs) * 1e6:.0f} µs",
            ),
        ]
    )


if __name__ == "__main__":
    if "GPUYARD_FRONTEND" in os.environ:
        sys.exit(frontend())
    elif sys.argv[1:2] == ["--serve"]:
        submit.serve(Path(sys.argv[2]), Path(__file__).stem)
    else:
        sys.exit(main())
