"""`gpuyard worker`: this machine's GPUs for a server elsewhere. SIGTERM or Ctrl-C stops it and leaves runs alive."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuyard.cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from gpuyard.actors.supervisor import Supervisor
    from gpuyard.transport.token import WorkerToken

LAST_WORD_SECONDS = 2.0
NOT_STARTED = "the worker was not started"


@click.command("worker")
@click.option("--worker-token-file", type=click.Path(path_type=Path), help="File that holds the worker's token.")
@click.option("--orchestrator-url", metavar="tcp://HOST:PORT", help="The server, if it is not where the token says.")
@click.option("--name", "worker_name", help="Name in the worker's own messages.")
@click.option("--persistent", "worker_persistent", is_flag=True, default=None, help="Stay after a job.")
@click.option("--max-jobs", "worker_max_jobs", type=click.IntRange(1), help="Jobs at once; as many as fit.")
@click.option("--label", "worker_labels", multiple=True, metavar="KEY=VALUE", help="What jobs choose by; repeatable.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the journal, the logs and the runs.")
@click.option("--simulate-gpus", metavar="N[:MODEL[:GB]]", help="Simulated GPUs instead of real ones.")
def worker(worker_token_file: Path | None, **flags: Any) -> None:
    """Lend this machine's GPUs to a server: run what it sends.

    The token comes from GPUYARD_WORKER_TOKEN or a file, never from the command line. Ctrl-C or SIGTERM stops the
    worker; runs go on and are found again at the next start.
    """
    from gpuyard.actors.model.errors import GpuyardError
    from gpuyard.cli import settings as cli_settings, worker_settings

    flags["worker_labels"] = flags["worker_labels"] or None
    try:
        token = _token(worker_token_file)
        settings = worker_settings.load({name: value for name, value in flags.items() if value is not None})
        supervisor = _supervisor(settings, token)
    except cli_settings.SettingsError as error:
        raise Failure(NOT_STARTED, str(error), exit_code=ExitCode.USAGE) from None
    except GpuyardError as error:
        raise Failure(NOT_STARTED, error.detail, exit_code=ExitCode.USAGE) from None
    _work(settings, supervisor)


def _token(file: Path | None) -> WorkerToken:
    """Raises Failure, InvalidInput."""
    from gpuyard.cli.worker_settings import TOKEN_VARIABLE
    from gpuyard.transport.token import WorkerToken

    text = os.environ.pop(TOKEN_VARIABLE, "")
    if file is not None:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(NOT_STARTED, f"the token file cannot be read: {error}") from None
    if not text.strip():
        raise Failure(
            NOT_STARTED,
            "it has no token",
            f"on the server: gpuyard workers add NAME; then set {TOKEN_VARIABLE} here, or use --worker-token-file",
            exit_code=ExitCode.USAGE,
        )
    return WorkerToken.decode(text)


def _supervisor(settings: Any, token: WorkerToken) -> Supervisor:
    from gpuyard.cli import descriptors, logs, worker_wiring
    from gpuyard.cli.folder_lock import FolderLock, InUse

    try:
        descriptors.take_enough()
        worker_wiring.prepare(settings)
        if (settings.data_dir / worker_wiring.DATABASE).exists():
            raise InUse(f"{settings.data_dir} is the data folder of a server")
        FolderLock(settings.data_dir / worker_wiring.LOCK)
        logs.set_up(settings.data_dir, settings.log_level, worker_wiring.LOG)
    except descriptors.TooFew as error:
        raise Failure(NOT_STARTED, str(error)) from None
    except InUse as error:
        raise Failure(NOT_STARTED, str(error), "take another --data-dir") from None
    except OSError as error:
        do = "make the data folder writable and leave room on its disk, or take another --data-dir"
        raise Failure(NOT_STARTED, str(error), do) from None
    return worker_wiring.supervisor(settings, token)


def _work(settings: Any, supervisor: Supervisor) -> None:
    import logging

    from gpuyard.actors.model.errors import GpuyardError
    from gpuyard.actors.supervisor import EXIT_SOFTWARE, GaveUp

    log = logging.getLogger("gpuyard.worker")
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop())
    try:
        supervisor.boot()
        log.info("started with data in %s", settings.data_dir)
        supervisor.run()
        _say_goodbye(supervisor)
        log.info("stopping; runs go on and are found again at the next start")
        supervisor.shut_down()
    except GaveUp as error:
        log.critical("giving up: %s", error)
        # Threads that hang cannot be ended: leave at once. Runs live on.
        logging.shutdown()
        os._exit(EXIT_SOFTWARE)
    except (GpuyardError, OSError) as error:
        supervisor.shut_down()
        raise Failure(NOT_STARTED, str(error)) from None
    sys.exit(0)


def _say_goodbye(supervisor: Supervisor) -> None:
    """So that the server sends no job to a worker that is just ending."""
    from concurrent.futures import TimeoutError as NoAnswer

    from gpuyard.actors.model import names
    from gpuyard.actors.model.commands import LeaveServer
    from gpuyard.actors.model.errors import GpuyardError
    from gpuyard.actors.model.message import Ping

    try:
        for name, message in ((names.AGENT, LeaveServer()), (names.UPLINK, Ping())):
            supervisor.directory.ref(name).ask(message).result(LAST_WORD_SECONDS)
    except (GpuyardError, NoAnswer):
        pass  # it will notice by our silence
