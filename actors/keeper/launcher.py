"""The supervisor's end of the zygote: start it, send it orders, notice its death."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from gpuyard.actors.keeper import environment
from gpuyard.actors.keeper.program import records
from gpuyard.actors.keeper.settings import KeeperSettings

PROGRAM = Path(__file__).parent / "program" / "__main__.py"
LOG = "keeper.log"

# The zygote ends at the end of its socket; a stopped one is not waited for longer than this, in seconds.
LAST_WAIT = 1.0


class Launcher:
    """One zygote at a time. `pidfd` is readable once it has died."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._settings = settings
        self._zygote: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self.pidfd = -1

    def start(self) -> None:
        """Does not wait until it is ready: orders wait in the socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        # Tracebacks of keepers; their own words go to the logs of their runs.
        with theirs, open(self._settings.runs / LOG, "ab") as log:
            self._zygote = subprocess.Popen(
                [self._settings.python, "-I", "-S", "-E", "-X", "utf8", str(PROGRAM), str(self._settings.data_dir)],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                env=environment.cleaned(os.environ),
                cwd="/",
                start_new_session=True,
            )
        self._orders = ours
        self.pidfd = os.pidfd_open(self._zygote.pid)

    def send(self, order: dict[str, Any]) -> bool:
        """False when it has to be sent again: no zygote, or its socket is full."""
        if self._orders is None:
            return False
        data = json.dumps(order, separators=(",", ":")).encode("ascii")
        try:
            if len(data) <= records.INLINE_ORDER:
                self._orders.send(data)
            else:
                self._send_large(self._orders, data)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the zygote and its spare, if they still live. Keepers live on."""
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._zygote is not None:
            try:
                self._zygote.wait(LAST_WAIT)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait()
            self._zygote = None

    @property
    def pid(self) -> int | None:
        """Of the zygote."""
        return self._zygote.pid if self._zygote else None

    @staticmethod
    def _send_large(orders: socket.socket, data: bytes) -> None:
        memory = os.memfd_create("gpuyard-order", os.MFD_CLOEXEC)
        try:
            records.write_all(memory, data)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
            orders.sendmsg([b"memory"], [rights])
        finally:
            os.close(memory)
