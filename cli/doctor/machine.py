"""The machine under a server: Python, kernel, clock, limits, control groups, systemd."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gpuyard.cli.doctor.finding import Finding, failure, note, ok, warning

OLDEST_PYTHON = (3, 11)
FEWEST_FILES = 4_096
FEWEST_PROCESSES = 4_096
LAST_CENTURY = 1_735_689_600  # 2025-01-01: a clock before this release is wrong
TIME_ERROR = 5
BIG_ENOUGH_FOR_TIMEX = 512


def python() -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        yield failure("python", found, "gpuyard needs Python 3.11 or newer")
    else:
        yield ok("python", found)


def kernel() -> Iterator[Finding]:
    """A run is supervised with pidfds, which Linux has since 5.3."""
    name = f"{platform.system()} {platform.release()}"
    if platform.system() != "Linux":
        yield failure("kernel", name, "the server needs Linux; the client verbs work here")
        return
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        yield failure("kernel", f"{name}: pidfd_open: {error.strerror}", "Linux 5.3 or newer, without a filter on it")
    else:
        yield ok("kernel", name)


def clock() -> Iterator[Finding]:
    """The clock is plausible, and something keeps it right (waiting times and priorities count on it)."""
    if time.time() < LAST_CENTURY:
        yield failure("clock", time.strftime("%Y-%m-%d %H:%M:%S"), "set the clock")
        return
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(BIG_ENOUGH_FOR_TIMEX))
    except (OSError, AttributeError):
        return
    if state == TIME_ERROR:
        yield note("clock", "nothing says that it is kept in step", "run chrony or systemd-timesyncd on the host")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def limits() -> Iterator[Finding]:
    """Open files (each run and each follower takes some) and processes."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = files == resource.RLIM_INFINITY or files >= FEWEST_FILES
    if enough:
        yield ok("open files", "no limit" if files == resource.RLIM_INFINITY else f"limit {files}")
    else:
        raise_it = "ulimit -n 65536" if most == resource.RLIM_INFINITY or most >= FEWEST_FILES else "LimitNOFILE=65536"
        yield warning("open files", f"limit {files}", f"{raise_it}, for many runs and followers at once")
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if processes != resource.RLIM_INFINITY and processes < FEWEST_PROCESSES:
        yield warning("processes", f"limit {processes}", "ulimit -u, or TasksMax= of the service: trainings fork")


def control_groups() -> Iterator[Finding]:
    """With a writable group each run gets its own, which makes the end of a run certain and quick."""
    from gpuyard.actors.keeper.program import cgroup

    if cgroup.own_path() is None:
        do = "as a service set Delegate=yes; in a container mount /sys/fs/cgroup writable"
        yield note("control groups", "not writable: runs are swept through /proc instead", do)
    else:
        yield ok("control groups", "each run gets one of its own")


def service(pid: int | None) -> Iterator[Finding]:
    """A server that systemd runs must not take its runs along when it is restarted."""
    try:
        unit = unit_in(Path(f"/proc/{pid}/cgroup").read_text()) if pid else None
    except OSError:
        return
    shown = _systemctl("show", unit, "--property=KillMode,Delegate") if unit else None
    if unit and shown:
        yield from judged(unit, dict(line.partition("=")[::2] for line in shown.splitlines()))


def unit_in(cgroups: str) -> str | None:
    """The systemd service that a process with this /proc/PID/cgroup belongs to."""
    for line in cgroups.splitlines():
        for part in reversed(line.split("/")):
            if part.endswith(".service") and not part.startswith("user@"):
                return part
    return None


def judged(unit: str, properties: dict[str, str]) -> Iterator[Finding]:
    """What the unit's properties mean for runs."""
    mode = properties.get("KillMode", "?")
    if mode == "process":
        yield ok("systemd", f"{unit} has KillMode=process")
    else:
        do = f"set KillMode=process in {unit}: a restart of the service would end all runs"
        yield failure("systemd", f"{unit} has KillMode={mode}", do)
    if properties.get("Delegate") == "no":
        yield note("systemd", f"{unit} has Delegate=no", "set Delegate=yes, so that each run gets its control group")


def _systemctl(*words: str) -> str | None:
    for command in (["systemctl", *words], ["systemctl", "--user", *words]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode == 0 and done.stdout:
            return done.stdout
    return None
