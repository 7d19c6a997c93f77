"""Every verb exists, explains itself, and is named once."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from gpuyard.cli.lazy import Family, Verb
from gpuyard.cli.main import root
from gpuyard.cli.registry import ROOT

# The verbs of CONTRACT "Command line" that this release has.
VERBS = """
users/list users/add users/set-level users/edit users/disable users/enable users/set-password users/rescue users/remove
teams/list teams/add teams/rename teams/remove tokens/list tokens/create tokens/revoke
secrets/set secrets/list secrets/delete webhooks/add webhooks/list webhooks/test webhooks/enable webhooks/disable
webhooks/delete webhooks/deliveries login logout whoami audit
server worker demo run gpus usage status top doctor version completion config/show db/check db/backup db/restore
db/import-simpletuner
jobs/submit jobs/list jobs/get jobs/status jobs/why jobs/logs jobs/events jobs/wait jobs/cancel jobs/retry jobs/hold
jobs/release jobs/priority jobs/delete jobs/purge jobs/approval
approvals/list approvals/approve approvals/reject approvals/rules/list approvals/rules/add approvals/rules/set
approvals/rules/remove approvals/rules/test
workers/list workers/add workers/get workers/drain workers/undrain workers/rotate-token
workers/stop-orphan workers/delete
cloud/providers/list cloud/providers/test cloud/providers/enable cloud/providers/disable cloud/cost
queue/status queue/me queue/position queue/limits queue/process queue/pause queue/resume queue/cleanup
"""


def registered(family: Family, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Verb]]:
    for name, found in family.verbs.items():
        if isinstance(found, Family):
            yield from registered(found, (*path, name))
        else:
            yield (*path, name), found


def test_the_verbs_are_those_of_the_contract() -> None:
    assert {"/".join(path) for path, _ in registered(ROOT)} == set(VERBS.split())


@pytest.mark.parametrize(("path", "verb"), list(registered(ROOT)), ids=lambda value: str(value))
def test_every_verb_loads_and_explains_itself(path: tuple[str, ...], verb: Verb) -> None:
    command = verb.load()
    assert command.name == path[-1]
    result = CliRunner().invoke(root, [*path, "--help"], prog_name="gpuyard")
    assert result.exit_code == 0, result.output
    assert f"Usage: gpuyard {' '.join(path)}" in result.output
    assert command.help
    assert verb.help.endswith(".") and len(verb.help) <= 66, "it fits into a line of the list"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", [[], ["jobs"], ["queue"], ["db"], ["config"]])
def test_help_of_a_group_lists_its_verbs_whole(path: list[str]) -> None:
    result = CliRunner().invoke(root, [*path, "--help"], prog_name="gpuyard")
    assert result.exit_code == 0
    for full, verb in registered(ROOT):
        if list(full[:-1]) == path:
            assert verb.help in " ".join(result.output.split()), full


def test_no_module_is_loaded_for_a_list_of_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(verb: Verb) -> click.Command:
        raise AssertionError(f"{verb.where} was loaded")

    monkeypatch.setattr(Verb, "load", forbidden)
    assert CliRunner().invoke(root, ["jobs", "--help"]).exit_code == 0
