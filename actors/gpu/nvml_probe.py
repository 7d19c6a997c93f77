"""The NVML probe: asks a helper process and never waits for it (see `nvml_helper` for why it is a process).

The helper is killed when a reading takes too long, and a new one is started once the old one is really gone: one that
hangs inside the driver cannot be killed, and a second would only hang beside it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from gpuyard.actors.gpu.probe import Answer, ProbeFailed
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.gpu_reading import Reading

BACKOFF_FIRST, BACKOFF_LAST = 0.5, 30.0
REOPEN_LAST = 600.0
CHUNK = 1 << 16


class NvmlProbe:
    """`env` is the helper's environment, None for this process's own."""

    backend = "cuda"
    at_once = False

    def __init__(self, settings: GpuSettings, env: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._env = env
        # One descriptor to watch, whatever helper lives: an epoll set is itself readable when a member is.
        self._ready = select.epoll()
        self._helper: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._left_at = 0.0
        self._buffer = b""
        self._open = False
        self._asked_at: float | None = None
        self._wanted = False
        self._failure: str | None = None
        self._born = 0.0
        self._not_before = 0.0
        self._backoff = BACKOFF_FIRST
        self._reopen = settings.reopen
        self._known: set[str] = set()

    @property
    def fd(self) -> int | None:
        return self._ready.fileno()

    def note(self, running: Mapping[str, int]) -> None:
        """Real GPUs show their load by themselves."""

    def ask(self) -> bool:
        self._wanted = True
        now = time.monotonic()
        if self._open and self._asked_at is not None:
            return False
        if self._open:
            self._request(now)
        elif self._helper is None and now >= self._not_before and not self._anyone_leaving():
            try:
                self._start(now)
            except OSError as error:
                self._failure = f"the NVML helper cannot be started: {error.strerror}"
        return True

    def take(self) -> Reading | None:
        reading = None
        if self._failure is not None:
            why, self._failure = self._failure, None
            self._fail(why)
        while (answer := self._next_answer()) is not None:
            if answer.error is not None:
                self._fail(answer.error)
            if answer.reading is None:
                self._open, self._asked_at = True, None
                if self._wanted:
                    self._request(time.monotonic())
            else:
                reading = answer.reading
                self._asked_at, self._wanted = None, False
                self._backoff = BACKOFF_FIRST
                self._maybe_reopen(reading)
        if reading is None:
            self._check_time()
        return reading

    def close(self) -> None:
        self._drop()
        for helper in self._leaving:
            helper.kill()
            # One that hangs inside the driver stays behind: nothing can end it, and nobody waits for it.
            with suppress(subprocess.TimeoutExpired):
                helper.wait(1.0)
        self._leaving.clear()
        if not self._ready.closed:
            self._ready.close()

    # --- the helper's life ---

    def _start(self, now: float) -> None:
        data_dir = self._settings.data_dir
        folder = str(data_dir.absolute()) if data_dir is not None else ""
        helper = subprocess.Popen(
            [sys.executable, "-P", "-m", "gpuyard.actors.gpu.nvml_helper", folder, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        assert helper.stdout is not None
        os.set_blocking(helper.stdout.fileno(), False)
        self._ready.register(helper.stdout, select.EPOLLIN)
        self._helper = helper
        self._open, self._buffer = False, b""
        self._born = self._asked_at = now

    def _request(self, now: float) -> None:
        assert self._helper is not None and self._helper.stdin is not None
        # A helper that just ended is noticed at the end of its output.
        with suppress(BrokenPipeError):
            os.write(self._helper.stdin.fileno(), b"\n")
        self._asked_at = now

    def _drop(self) -> None:
        """Let the helper end by itself: its stdin closes."""
        helper, self._helper = self._helper, None
        self._open, self._asked_at = False, None
        if helper is not None:
            assert helper.stdin is not None and helper.stdout is not None
            self._ready.unregister(helper.stdout)
            helper.stdin.close()
            helper.stdout.close()
            self._leaving.append(helper)
            self._left_at = time.monotonic()

    def _anyone_leaving(self) -> bool:
        self._leaving = [helper for helper in self._leaving if helper.poll() is None]
        return bool(self._leaving)

    def _fail(self, why: str) -> None:
        """Give the helper up, and try again with ever longer pauses."""
        if self._helper is not None:
            self._helper.kill()
        self._drop()
        self._not_before = time.monotonic() + self._backoff
        self._backoff = min(BACKOFF_LAST, self._backoff * 2)
        raise ProbeFailed(why)

    # --- its answers ---

    def _next_answer(self) -> Answer | None:
        while b"\n" not in self._buffer:
            if self._helper is None or self._helper.stdout is None:
                return None
            try:
                part = os.read(self._helper.stdout.fileno(), CHUNK)
            except BlockingIOError:
                return None
            if not part:
                self._fail(_ending(self._helper))
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return msgspec.json.decode(line, type=Answer)

    def _check_time(self) -> None:
        if self._helper is None or self._asked_at is None:
            if self._anyone_leaving() and time.monotonic() - self._left_at >= self._settings.timeout:
                for helper in self._leaving:
                    helper.kill()
                raise ProbeFailed("the NVML helper hangs inside the driver and cannot be ended")
            return
        waited = time.monotonic() - self._asked_at
        if self._open and waited >= self._settings.timeout:
            self._fail(f"NVML has not answered for {self._settings.timeout:g} s: a call into the driver hangs")
        if not self._open and waited >= self._settings.start_timeout:
            self._fail(f"NVML did not start within {self._settings.start_timeout:g} s")
        if not self._open and waited >= self._settings.timeout:
            raise ProbeFailed(f"NVML is starting: the driver has not answered for {self._settings.timeout:g} s")

    def _maybe_reopen(self, reading: Reading) -> None:
        """A GPU that comes back shows only to those who open NVML anew."""
        listed = {gpu.uuid for gpu in reading.gpus if gpu.lost is None}
        self._known -= set(reading.replaced)
        self._known |= {gpu.uuid for gpu in reading.gpus if not gpu.mig}
        if self._known <= listed and not reading.unreachable:
            self._reopen = self._settings.reopen
        elif time.monotonic() - self._born >= self._reopen:
            self._reopen = min(REOPEN_LAST, self._reopen * 2)
            self._drop()


def _ending(helper: subprocess.Popen[bytes]) -> str:
    """How it ended, in words; its output is closed, so it ends at once."""
    try:
        code = helper.wait(0.05)
    except subprocess.TimeoutExpired:
        return "the NVML helper closed its output"
    if code < 0:
        return f"the NVML helper was ended by {signal.Signals(-code).name}"
    return f"the NVML helper ended with code {code}"
