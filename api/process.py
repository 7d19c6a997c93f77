"""The Frontend's process as its supervisor sees it: bind a port, start, watch, stop.

The supervisor holds the listening socket, so that a Frontend that is restarted finds the connections that came
meanwhile; when the supervisor dies the socket closes with it and the Frontend dies too: the port is free at once.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys
import time

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.errors import Unavailable
from gpuyard.api.handover import ENVIRONMENT, READY, FrontendConfig

BACKLOG = 1024
START_SECONDS = 30.0


class PortUnavailable(OSError):
    """The address can't be listened on; the text says which and why."""

    def __str__(self) -> str:
        return str(self.args[-1])


def bind(host: str, port: int) -> socket.socket:
    """A listening socket (port 0 takes a free one). Raises PortUnavailable.

    The protocol is named: asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP (DESIGN 12).
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PortUnavailable(error.errno, f"there is no address {host}: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortUnavailable(error.errno, _why(host, port, error)) from error
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: end the program that has it, or choose another port with --port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed for this user: choose one above 1023 with --port"
    return f"can't listen on {host} port {port}: {error.strerror}"


class FrontendProcess:
    """Runs `python -m MODULE` as the Frontend of `listener`. Use it from the process's main thread: a child is
    killed when the *thread* that started it ends. Not thread-safe."""

    name = names.FRONTEND

    def __init__(self, listener: socket.socket, module: str, config: FrontendConfig) -> None:
        self._listener = listener
        self._module = module
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._ready = -1

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def spawn(self) -> None:
        """Begin to start it, so that it loads what it needs while others start too. Harmless while it lives."""
        if self.alive():
            return
        self._forget()
        life_read, self._lifeline = os.pipe()
        self._ready, ready_write = os.pipe()
        inherited = (self._listener.fileno(), life_read, ready_write)
        config = msgspec.structs.replace(
            self._config,
            listener_fd=inherited[0],
            lifeline_fd=life_read,
            ready_fd=ready_write,
            parent=os.getpid(),
        )
        try:
            # -P: a module of the same name in the present folder must not be taken for one of ours.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                env={**os.environ, ENVIRONMENT: msgspec.json.encode(config).decode()},
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(life_read)
            os.close(ready_write)

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start it and wait until it takes requests. Raises Unavailable when it does not."""
        self.spawn()
        if self._ready >= 0:
            try:
                self._await_ready(self._ready, timeout)
            finally:
                self._heard()

    def _await_ready(self, pipe: int, timeout: float) -> None:
        readable, _, _ = select.select([pipe], [], [], timeout)
        if readable and os.read(pipe, 1) == READY:
            return
        assert self._process is not None
        if readable:
            code = self._process.wait(timeout)
            raise Unavailable(f"the Frontend's process ended at its start with code {code}: its log says why")
        self.stop(0)
        raise Unavailable(f"the Frontend's process did not start within {timeout:g} s")

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float) -> None:
        """End it: in order within `timeout` seconds, else by force. The listening socket stays open."""
        if self._process is not None:
            deadline = time.monotonic() + timeout
            self._process.terminate()
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._forget()

    def _heard(self) -> None:
        """It takes requests, or never will."""
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1

    def _forget(self) -> None:
        self._process = None
        self._heard()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
