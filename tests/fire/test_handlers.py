"""A fault in a handler: the service heals or exits with code 70, and never limps. The long form: tools/handlers.py."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model import commands as c, events as e, names
from gpuyard.actors.model.message import Ping, Tick
from gpuyard.actors.supervisor import EXIT_SOFTWARE
from tests import leaks
from tests.e2e.server import Server
from tests.fire.handler_trial import Case, Trial, all_cases, all_handlers
from tests.fire.handlers import Handler, How
from tests.support import eventually

# Hangs take seconds each, for the supervisor waits before it calls one that.
HANGS = 3
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


def sample(cases: list[Case], seed: int = 1) -> list[Case]:
    """For each actor one case of every kind, drawn by lot; a few hangs."""
    chance = random.Random(seed)
    shuffled = chance.sample(cases, len(cases))
    one_each = {(case.handler.actor, case.how, case.booting): case for case in shuffled}
    hangs = [case for case in one_each.values() if case.how is How.HANG]
    return [case for case in one_each.values() if case.how is not How.HANG] + hangs[:HANGS]


def test_handlers_are_found_in_the_code(tmp_path: Path) -> None:
    found = all_handlers(tmp_path)
    for actor, message in (
        (names.SCHEDULER, c.SubmitJob),
        (names.SCHEDULER, e.Committed),
        (names.SCHEDULER, c.DeleteJob),
        (names.SCHEDULER, Tick),
        (names.STORE, c.Commit),
        (names.KEEPER, c.WantRun),
        (names.GPUS, c.SetGpuAside),
        (names.HISTORY, c.GetEvents),
        (names.LINK, c.Publish),
        (names.CLOUD, Ping),
    ):
        assert Handler(actor, message) in found
    assert len(found) == len(set(found))


@pytest.mark.timeout(600)
def test_a_server_heals_or_gives_up_and_loses_nothing(tmp_path: Path) -> None:
    cases = all_cases(tmp_path / "scout")
    # What came is what was found: a handler that the search in the code overlooks would show here.
    assert {case.handler for case in cases if case.booting} <= set(all_handlers(tmp_path / "scout"))
    problems, outcomes = [], set()
    # A record that is kept keeps the traceback of its error, and so the actor that met it.
    logging.disable(logging.CRITICAL)
    for number, case in enumerate(sample(cases)):
        trial = Trial(tmp_path / str(number), case).run()
        problems += trial.problems
        outcomes.add((case.how, trial.outcome))
    logging.disable(logging.NOTSET)
    assert problems == []
    assert {(How.EXCEPTION, "healed"), (How.EXIT, "healed"), (How.LATE, "healed"), (How.HANG, "gave up")} <= outcomes


@pytest.mark.parametrize(("actor", "message"), [(names.LINK, c.Publish), (names.SCHEDULER, e.AttemptStarted)])
def test_a_real_server_heals(tmp_path: Path, actor: str, message: type) -> None:
    server = _server(tmp_path, actor, message, How.EXIT)
    try:
        server.start()
        job_id = _submit(server)
        eventually(lambda: "restarting" in server.stderr(), timeout=30)
        eventually(lambda: server.get("/readyz").status == 200, timeout=30)
        assert server.wait(job_id)["exit_code"] == 3
        assert server.stop() == 0
    finally:
        server.close()


def test_a_real_server_that_hangs_exits_with_code_70_and_one_line_why(tmp_path: Path) -> None:
    server = _server(tmp_path, names.KEEPER, c.WantRun, How.HANG)
    try:
        server.start()
        job_id = server.submit("sh", "-c", "exit 3")["job_id"]
        assert server.process is not None and server.process.wait(timeout=60) == EXIT_SOFTWARE
        why = [line for line in server.stderr().splitlines() if "giving up" in line]
        assert len(why) == 1 and "keeper hangs" in why[0]
        server.prefix.clear()
        assert server.start().wait(job_id)["exit_code"] == 3
    finally:
        server.close()


def _submit(server: Server) -> str:
    """With its key, until it is acknowledged."""
    body = {"command": ["sh", "-c", "sleep 0.2; exit 3"]}

    def acknowledged() -> str | None:
        answer = server.post("/api/queue/submit", body, **{"Idempotency-Key": "the-one"})
        assert answer.status in (200, 503), answer.body
        return answer.body["job_id"] if answer.status == 200 else None

    return eventually(acknowledged, timeout=30) or ""


def _server(folder: Path, actor: str, message: type, how: How) -> Server:
    server = Server(folder, PYTHONPATH=str(ROOT))
    server.prefix = [sys.executable, "-W", "error", "-m", "tests.fire.faulty_server", actor, message.__name__, how]
    return server
