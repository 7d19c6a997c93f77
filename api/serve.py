"""The Frontend's process, from its first line to its last.

It inherits a listening socket and two pipes, reads its configuration (`handover.py`) from the environment, and lives
exactly as long as the supervisor wants it to: SIGTERM ends it in order, the supervisor's death at once.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from gpuyard.actors.base import Context, has_ended, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.message import Shutdown
from gpuyard.api import lifeline
from gpuyard.api.core import Core
from gpuyard.api.frontend import START_SECONDS, Frontend
from gpuyard.api.handover import READY, FrontendConfig
from gpuyard.api.server import SHUTDOWN_SECONDS

FILES = 65_536


def serve(config: FrontendConfig, open_core: Callable[[Path], AbstractAsyncContextManager[Core]]) -> int:
    """Serve until SIGTERM; the exit code. `open_core` gives the link whose sockets are in that folder."""
    lifeline.die_with_parent(config.parent)
    lifeline.watch(config.lifeline_fd)
    allow_many_files()
    settled, ended = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def crashed(name: str, error: BaseException) -> None:
        failed.append(error)
        settled.set()
        ended.set()

    # Ctrl-C reaches the whole terminal group: the supervisor decides, not we.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    context = Context(names.FRONTEND, crashed=crashed)
    listener = socket.socket(fileno=config.listener_fd)
    sockets = Path(config.sockets_dir)
    start(Frontend, context, listener, lambda: open_core(sockets), config.settings)
    frontend = context.ref(names.FRONTEND)
    serving = frontend.ask(Ready())
    serving.add_done_callback(lambda _: settled.set())
    settled.wait(START_SECONDS)
    if failed or not serving.done() or not serving.result():
        return 1
    os.write(config.ready_fd, READY)
    os.close(config.ready_fd)
    ended.wait()
    if failed:
        return 1
    reference = context.directory.get(names.FRONTEND)
    frontend.ask(Shutdown()).result(SHUTDOWN_SECONDS)
    deadline = time.monotonic() + SHUTDOWN_SECONDS + 3
    while reference is not None and not has_ended(reference) and time.monotonic() < deadline:
        time.sleep(0.01)
    return 0


def allow_many_files() -> None:
    """As many descriptors as this user may have, within reason: each client is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
