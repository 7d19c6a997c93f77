"""The program in which NVML lives: one line in, one reading out as a line of JSON, until its stdin closes.

A process of its own, because a call into the driver can hang where not even SIGKILL reaches, or crash; the server
must survive both, and must be able to end and start again while the hung call still holds on to this process.
`echo | python -m gpuyard.actors.gpu.nvml_helper` shows a reading.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import BinaryIO

import msgspec

from gpuyard.actors.gpu.nvml import Nvml, NvmlError
from gpuyard.actors.gpu.ownership import Owners
from gpuyard.actors.gpu.probe import Answer

PR_SET_PDEATHSIG = 1


def main(data_dir: str | None, requests: BinaryIO, answers: BinaryIO) -> int:
    """Serve until `requests` ends (0), or until the driver as a whole fails (1)."""
    nvml: Nvml | None = None
    try:
        nvml = Nvml(Owners(data_dir))
        _say(answers, Answer())
        for _ in requests:
            _say(answers, Answer(reading=nvml.read()))
    except NvmlError as error:
        _say(answers, Answer(error=f"NVML: {error}"))
        return 1
    except BrokenPipeError:
        return 0
    finally:
        if nvml is not None:
            nvml.close()
    return 0


def _say(answers: BinaryIO, answer: Answer) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


def _die_with(parent: int) -> None:
    """Be killed when the server ends, also in the midst of a call that hangs."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def _own_stdout() -> BinaryIO:
    """Standard output for the answers alone: what a driver library may print there goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _die_with(int(sys.argv[2]))
    sys.exit(main(sys.argv[1] or None if len(sys.argv) > 1 else None, sys.stdin.buffer, _own_stdout()))
