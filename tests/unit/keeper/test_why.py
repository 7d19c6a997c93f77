"""A class for programs, a sentence for people."""

from __future__ import annotations

import signal

import pytest

from gpuyard.actors.keeper.program.why import LONGEST, Why, signal_name, why

TRACEBACK = b"""Epoch 1: 100%|####| 10/10
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    main()
torch.cuda.SomeError: the device is gone
"""

LAUNCHER = (
    TRACEBACK
    + b"""Traceback (most recent call last):
  File "accelerate", line 8, in <module>
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.
"""
)

TORCHRUN = b"""[rank0]: Traceback (most recent call last):
[rank0]:   File "/train.py", line 9, in <module>
[rank0]: ValueError: expected 4 channels, got 3
E1122 elastic/multiprocessing/api.py:826] failed (exitcode: 1) local_rank: 0 (pid: 77)
============================================================
train.py FAILED
------------------------------------------------------------
"""


@pytest.mark.parametrize(
    ("code", "number", "tail", "expected"),
    [
        (0, 0, b"CUDA out of memory\n", Why("completed", "")),
        (1, 0, b"", Why("exit:1", "exit code 1")),
        (2, 0, b"usage: train.py\n\n", Why("exit:2", "exit code 2: usage: train.py")),
        (1, 0, TRACEBACK, Why("exit:1", "exit code 1: torch.cuda.SomeError: the device is gone")),
        (1, 0, LAUNCHER, Why("exit:1", "exit code 1: torch.cuda.SomeError: the device is gone")),
        (1, 0, TORCHRUN, Why("exit:1", "exit code 1: [rank0]: ValueError: expected 4 channels, got 3")),
        (1, 0, b"KeyboardInterrupt\n", Why("exit:1", "exit code 1: KeyboardInterrupt")),
        (1, 0, b"fatal: no weights\nbye\n", Why("exit:1", "exit code 1: fatal: no weights")),
        (85, 0, b"", Why("requeue", "exit code 85: the program asks to be run again")),
        (137, 0, b"", Why("exit:137", "exit code 137, as after SIGKILL")),
        (255, 0, b"", Why("exit:255", "exit code 255")),
        (0, 9, b"hello\n", Why("signal:SIGKILL", "killed by SIGKILL: likely out of memory")),
        (0, 11, b"core\n", Why("signal:SIGSEGV", "killed by SIGSEGV: core")),
        (0, 9, b"x\ncuda: CUDA out of memory.\n", Why("oom", "cuda: CUDA out of memory. (killed by SIGKILL)")),
    ],
)
def test_ends_in_words(code: int, number: int, tail: bytes, expected: Why) -> None:
    assert why(code, number, tail) == expected


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB",
        "RuntimeError: CUDA error: out of memory",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.",
    ],
)
def test_gpu_memory_that_ran_out_is_a_class_of_its_own(line: str) -> None:
    found = why(1, 0, f"step 5\n{line}\nTraceback of the launcher\n".encode())
    assert found == Why("oom", f"{line} (exit code 1)")


def test_the_kernels_own_word_makes_a_kill_an_oom() -> None:
    assert why(0, 9, b"", kernel_oom=True).exit_class == "oom"
    found = why(1, 0, b"RuntimeError: DataLoader worker is killed\n", kernel_oom=True)
    assert found.exit_class == "exit:1"
    assert found.message.endswith("; the kernel ended a process for lack of memory during the run")


@pytest.mark.parametrize("asked", ["cancelled", "timeout", "lost"])
def test_what_we_ended_says_why_we_did(asked: str) -> None:
    assert why(0, 15, b"CUDA out of memory", asked, "because") == Why(asked, "because (killed by SIGTERM)")
    assert why(85, 0, b"", asked, "because") == Why(asked, "because (exit code 85)")


def test_lines_are_shown_as_a_terminal_would_leave_them() -> None:
    tail = (
        b"half\r 10%|#\r 90%|###\x1b[0m\r\n\x1b[31mError: \x1b[1mred\x1b[0m\x07\x00\xff\n[gpuyard] not the program\n\n"
    )
    assert why(1, 0, tail).message == "exit code 1: Error: red\ufffd"


def test_a_sentence_stays_a_sentence() -> None:
    assert len(why(1, 0, b"Error: " + b"x" * 10_000).message) == LONGEST


def test_every_signal_has_a_name_that_retry_rules_accept() -> None:
    names = [signal_name(number) for number in signal.valid_signals()]
    assert len(set(names)) == len(names)
    assert signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert all(name.startswith("SIG") for name in names)
