"""The supervisor's end of the zygote: start it, ask it for spares, notice its death."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from gpuyard.actors.keeper import environment
from gpuyard.actors.keeper.settings import KeeperSettings

PROGRAM = Path(__file__).parent / "program" / "__main__.py"
# Tracebacks of keepers; what concerns a run goes to the run's own log.
LOG = "keeper.log"

# The zygote ends at the end of its socket; one that is stopped is not waited for longer than this, in seconds.
LAST_WAIT = 1.0


class Zygote:
    """At most one at a time. `pidfd` is readable once it has died, and -1 while there is none."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self.pidfd = -1

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Does not wait until it is ready: requests wait in the socket. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [self._settings.python, "-I", "-S", "-E", "-X", "utf8", str(PROGRAM), str(self._settings.data_dir)]
        if not self._settings.control_groups:
            command.append("--no-control-groups")
        try:
            with theirs, open(self._settings.runs / LOG, "ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=log,
                    stderr=log,
                    env=environment.cleaned(os.environ),
                    cwd="/",
                    start_new_session=True,
                )
            self.pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            ours.close()
            raise
        self._requests = ours

    def ask_for_spare(self) -> bool:
        """False when there is no zygote, or too many requests wait."""
        with suppress(OSError):
            return self._requests is not None and self._requests.send(b"1") == 1
        return False

    def close(self) -> None:
        """End it, if it still lives. Keepers live on."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._process is not None:
            try:
                self._process.wait(LAST_WAIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
