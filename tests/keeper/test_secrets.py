"""Secrets come into the environment of the run that names them, and nowhere else; without them it does not start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuyard.actors.base import LATER, Actor, Context, Reply, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import FetchSecrets
from gpuyard.actors.model.errors import NotFound, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import SecretValues
from tests.keeper.host import Host
from tests.support import eventually

VALUE = "canary-" + "y" * 60


class Safe(Actor):
    """Gives what it has; says no at first, if told to; answers nothing while `silent`."""

    def __init__(self, context: Context, has: dict[str, str], heard: list[FetchSecrets], away: list[bool]) -> None:
        super().__init__(context)
        self._has, self._heard, self._away = has, heard, away

    def handle(self, message: Message, reply: Reply | None) -> Any:
        assert isinstance(message, FetchSecrets)
        self._heard.append(message)
        if self._away and self._away.pop():
            raise Unavailable("not now")
        if "late" in message.names:
            return LATER
        if not set(message.names) <= set(self._has):
            raise NotFound("there is no secret gone of yours")
        return SecretValues(env={name.upper(): self._has[name] for name in message.names})


def safe(host: Host, *away: bool, **has: str) -> list[FetchSecrets]:
    heard: list[FetchSecrets] = []
    host.also(start(Safe, Context(names.SECRETS, directory=host.directory), has, heard, list(away)))
    return heard


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]


def test_it_is_in_the_environment_and_in_no_file(host: Host) -> None:
    heard = safe(host, hf=VALUE)
    host.shell(
        'test "$HF" = "$WANTED" && echo same; echo "$MASTER_PORT"', secrets=("hf",), owner=7, env={"WANTED": VALUE}
    )
    assert host.end().exit_class == "completed", host.log()
    assert host.log().startswith("same\n")
    assert [(one.fence, one.owner, one.names) for one in heard] == [(1, 7, ("hf",))]
    assert written(host.data_dir) == []


def test_another_run_of_the_same_keeper_has_it_no_more(host: Host) -> None:
    safe(host, hf=VALUE)
    host.shell("env | grep -c canary", fence=1, secrets=("hf",))
    assert host.end(1).exit_class == "completed"
    host.shell("env | grep -c canary", fence=2)
    assert (host.end(2).exit_code, host.log(2)) == (1, "0\n")


def test_a_secret_wins_over_a_variable_of_the_same_name(host: Host) -> None:
    safe(host, hf="the secret")
    host.shell('echo "$HF"', secrets=("hf",), env={"HF": "the variable"})
    host.end()
    assert host.log() == "the secret\n"


def test_a_large_one_comes_too(host: Host) -> None:
    safe(host, big="z" * 100_000)
    host.shell('echo "${#BIG}"', secrets=("big",))
    assert host.end().exit_class == "completed"
    assert host.log() == "100000\n"


def test_one_that_is_gone_is_final_and_said(host: Host) -> None:
    heard = safe(host, hf=VALUE)
    host.shell("touch ran", secrets=("hf", "gone"))
    end = host.end()
    assert (end.exit_class, end.message, end.started_at) == (
        "start_failed",
        "there is no secret gone of yours",
        None,
    )
    assert not (host.job() / "ran").exists() and len(heard) == 1


def test_whoever_has_them_may_be_away_for_a_while(host: Host) -> None:
    heard = safe(host, False, True, True, hf="v")
    host.shell('echo "$HF"', secrets=("hf",))
    assert host.end().exit_class == "completed" and host.log() == "v\n"
    assert len(heard) == 3


def test_a_stop_while_it_waits_ends_it(host: Host) -> None:
    heard = safe(host)
    host.shell("touch ran", secrets=("late",))
    eventually(lambda: heard)
    host.stop()
    end = host.end()
    assert (end.exit_class, end.started_at) == ("cancelled", None)


def test_a_new_supervisor_asks_nobody_for_a_run_that_lives(host: Host) -> None:
    first = safe(host, hf="v")
    host.shell("echo up; read line < /dev/null; exec sleep 600", secrets=("hf",))
    host.started()
    assert len(first) == 1
    host.shut_down()
    host.boot()
    second = safe(host, hf="v")
    eventually(lambda: len(host.all(type(host.started()))) > 1)
    host.stop()
    assert host.end().exit_class in ("cancelled", "signal:SIGTERM")
    assert second == []
