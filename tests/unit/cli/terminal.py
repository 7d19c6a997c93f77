"""A real pseudo-terminal with a `gpuyard` in it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

from tests.support import eventually


class Terminal:
    """`gpuyard WORDS` on a terminal of so many columns; further settings go into its environment."""

    def __init__(self, url: str, *words: str, columns: int = 150, **environ: str) -> None:
        self.controller, self.inside = pty.openpty()
        fcntl.ioctl(self.inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.before = termios.tcgetattr(self.inside)
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpuyard", *words],
            stdin=self.inside,
            stdout=self.inside,
            stderr=self.inside,
            env={**kept, "GPUYARD_SERVER": url, "TERM": "xterm-256color", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.controller)
        os.close(self.inside)

    def read(self) -> str:
        """All that was written so far."""
        while select.select([self.controller], [], [], 0.02)[0]:
            self.seen += os.read(self.controller, 65_536).decode("utf-8", "replace")
        return self.seen

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.read(), timeout=60, message=f"{text!r} did not come")

    def press(self, keys: str) -> None:
        os.write(self.controller, keys.encode())

    def end(self) -> int:
        """Its exit code, once it has ended."""
        eventually(lambda: (self.read(), self.process.poll())[1] is not None, timeout=60)
        return self.process.wait()
