"""The command line against a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from gpuyard.cli.http import Client
from gpuyard.cli.main import root
from tests.unit.cli.recorder import Recorder

Gpuyard = Callable[..., Result]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting of the person who runs the tests, and none of their tokens."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    for name in ("GPUYARD_SERVER", "GPUYARD_TOKEN", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def client(server: Recorder) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def gpuyard(server: Recorder, monkeypatch: pytest.MonkeyPatch) -> Gpuyard:
    """Run the command with these words, against `server`; stdout, stderr and the exit code are in the result."""
    monkeypatch.setenv("GPUYARD_SERVER", server.url)

    def run(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(root, list(args), prog_name="gpuyard", input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
