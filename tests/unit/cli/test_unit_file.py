"""The systemd unit among the examples: the doctor would be content with it, and its command is one of ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from gpuyard.cli.commands.server import server
from gpuyard.cli.doctor.finding import Level
from gpuyard.cli.doctor.machine import judged
from gpuyard.cli.exits import ExitCode

UNIT = (Path(__file__).resolve().parents[3] / "tools" / "examples" / "gpuyard.service").read_text()
FACTS = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.M))


def test_runs_outlive_a_restart_of_the_service() -> None:
    assert {finding.level for finding in judged("gpuyard.service", FACTS)} == {Level.OK}


def test_its_command_is_understood() -> None:
    program, verb, *words = shlex.split(FACTS["ExecStart"])
    assert (Path(program).name, verb) == ("gpuyard", server.name)
    assert server.make_context(verb, words).params["data_dir"] == Path("/var/lib") / FACTS["StateDirectory"]


def test_it_is_not_tried_again_where_that_cannot_help() -> None:
    assert set(map(int, FACTS["RestartPreventExitStatus"].split())) == {ExitCode.USAGE, ExitCode.UNSAFE}
