"""`gpuyard server`: the supervisor in the foreground. Ctrl-C or SIGTERM stops it and leaves the runs alive."""

from __future__ import annotations

import errno
import faulthandler
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpuyard.cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from gpuyard.cli.posture import Posture

ADDRESS_FILE = "server.json"
SWITCH_SECONDS = 0.0005


@click.command("server")
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (8000); 0 takes a free one.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the database, the logs and the runs.")
@click.option("--configs-dir", type=click.Path(path_type=Path), help="Folder of the job configs.")
@click.option("--simulate-gpus", metavar="N[:MODEL[:GB]]", help="Simulated GPUs instead of real ones.")
@click.option("--ssl-cert", type=click.Path(path_type=Path), metavar="FILE", help="TLS certificate (PEM).")
@click.option("--ssl-key", type=click.Path(path_type=Path), metavar="FILE", help="Its key, for your eyes only (PEM).")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which it is called, besides those in the certificate; repeat it.",
)
@click.option("--behind-tls-proxy", is_flag=True, default=None, help="A proxy before it does the TLS.")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Believe this proxy (or CIDR) whom it forwards; repeat it.",
)
@click.option("--zmq-bind", metavar="HOST:PORT", help="Let workers connect here (and to the port after it); encrypted.")
@click.option("--zmq-advertise", metavar="HOST:PORT", help="What workers connect to, if it is not where it listens.")
def server(**flags: Any) -> None:
    """Start the server: queue, GPUs, HTTP.

    Ctrl-C or SIGTERM stops the server; runs go on and are found again at the next start.

    To be reached from other machines it needs a user with a token, and TLS: its own, or that of a proxy before it.
    """
    from gpuyard.cli import posture, settings as cli_settings

    try:
        settings = cli_settings.load({name: value for name, value in flags.items() if value not in (None, ())})
        stance = posture.judge(settings, lambda: _tokens(settings.data_dir))
    except cli_settings.SettingsError as error:
        raise Failure("the server was not started", str(error), exit_code=ExitCode.USAGE) from None
    except posture.Refused as error:
        alone = posture.is_loopback(settings.host)
        what = "the server was not started" if alone else f"the server does not listen on {settings.host}"
        raise Failure(what, str(error), error.do, exit_code=ExitCode.UNSAFE) from None
    sys.exit(_serve(settings, stance))


def _tokens(data_dir: Path) -> int:
    """How many tokens open the door; a database that can't be read is told of when it is opened."""
    import sqlite3
    import time

    from gpuyard.actors.store import doors
    from gpuyard.cli.data_folder import DATABASE

    try:
        return len(doors.open_to(data_dir / DATABASE, time.time()))
    except (sqlite3.Error, OSError, ValueError):
        return 1


def _serve(settings: Any, stance: Posture) -> int:
    import logging

    from gpuyard.api.process import bind
    from gpuyard.cli import data_folder, descriptors, logs
    from gpuyard.cli.frontend_wiring import frontend

    log = logging.getLogger("gpuyard.server")
    try:
        descriptors.take_enough()
        data_folder.prepare(settings)
        logs.set_up(settings.data_dir, settings.log_level)
    except descriptors.TooFew as error:
        raise Failure("the server was not started", str(error), exit_code=ExitCode.REFUSED) from None
    except OSError as error:
        raise _refused(error) from None
    try:
        listener = bind(settings.host, settings.port)
    except OSError as error:
        raise Failure("the server was not started", str(error), exit_code=ExitCode.REFUSED) from None
    page = frontend(listener, settings, stance)
    page.spawn()  # it loads its program while we load ours
    from gpuyard.actors.model.errors import GpuyardError
    from gpuyard.actors.supervisor import EXIT_SOFTWARE, GaveUp
    from gpuyard.cli import wiring

    faulthandler.register(signal.SIGUSR1, all_threads=True)
    url = stance.url.format(port=listener.getsockname()[1])
    # Actors hand over in fractions of a millisecond: nobody may keep the interpreter for the usual five.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        supervisor = wiring.supervisor(settings, [page])
    except GpuyardError as error:
        page.stop(0)
        raise Failure("the server was not started", error.detail, exit_code=ExitCode.USAGE) from None
    except OSError as error:
        page.stop(0)
        raise _refused(error) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop())
    address = settings.data_dir / ADDRESS_FILE
    try:
        supervisor.boot()
        # What was loaded stays: the collector need not walk over it again and again.
        gc.freeze()
        _write_address(address, url, network=stance.network, ssl_cert=str(settings.ssl_cert or ""))
        log.info("serving %s with data in %s and configs in %s", url, settings.data_dir, settings.configs)
        if stance.network:
            log.info("reachable from other machines as %s: everybody needs a token", ", ".join(stance.names) or url)
        supervisor.run()
        log.info("stopping; runs go on and are found again at the next start")
        supervisor.shut_down()
    except GaveUp as error:
        log.critical("giving up: %s", error)
        # Threads that hang cannot be ended: leave at once. Runs live on, the Frontend dies with us.
        logging.shutdown()
        os._exit(EXIT_SOFTWARE)
    except GpuyardError as error:
        supervisor.shut_down()
        raise Failure("the server was not started", error.detail, exit_code=ExitCode.REFUSED) from None
    except OSError as error:
        supervisor.shut_down()
        raise _refused(error) from None
    finally:
        address.unlink(missing_ok=True)
    return 0


def _refused(error: OSError) -> Failure:
    """The server cannot write what it must, or not get what it needs of the system."""
    disk = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    do = "make the data folder writable and leave room on its disk, or take another --data-dir"
    why = str(error)
    return Failure("the server was not started", why, do if error.errno in disk else "", exit_code=ExitCode.REFUSED)


def _write_address(path: Path, url: str, **more: Any) -> None:
    """For scripts and for port 0: where this server is; and for the doctor, who can reach it."""
    import json

    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid(), **more}) + "\n")
    draft.replace(path)
