"""Hosts of one's own: network, process and mount namespaces, joined by cables that can be cut without a word.

A host is an `init` process that holds its namespaces; whatever runs there dies with it, as in a power cut. A cable is
cut in one direction or both by a wrong hardware address: frames go out and nobody takes them, which is what a broken
switch does and what TCP cannot tell from silence.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import eventually

CLONE_NEWNET = 0x40000000
NOBODY = "02:00:5e:00:00:01"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# Says `up`, then takes in what is orphaned, as every init does.
INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('up', flush=True); signal.pause()"

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


class Forbidden(Exception):
    """This machine lets nobody have a network of his own; the text says why."""


def network_or_skip() -> None:
    """Skips the test, with a clear word, where namespaces are forbidden or their tools are missing."""
    try:
        with host() as one, host() as other:
            Cable(one, other).cut_both()
    except Forbidden as error:
        pytest.skip(f"network namespaces are not to be had here: {error}")


class Host:
    """`pid` is its init's; `boot_id` what the kernel there calls this boot (None: as it is)."""

    def __init__(self, boot_id: str | None = None, folder: Path | None = None) -> None:
        mount = ""
        if boot_id is not None and folder is not None:
            (folder / "boot_id").write_text(boot_id + "\n")
            mount = f"mount --bind {folder / 'boot_id'} {BOOT_ID} && "
        script = f'{mount}ip link set lo up && exec {sys.executable} -I -S -c "{INIT}"'
        command = ["unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]
        try:
            self._outer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise Forbidden(str(error)) from None
        assert self._outer.stdout is not None and self._outer.stderr is not None
        if self._outer.stdout.readline() != "up\n":
            why = self._outer.stderr.read().strip()
            self._outer.communicate()
            raise Forbidden(why or "unshare ended")
        (self.pid,) = children(self._outer.pid)

    def run(self, *command: str) -> str:
        """Run a tool there; its output. Raises Forbidden."""
        done = subprocess.run([*self.enter(), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Forbidden(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def enter(self, whole: bool = False) -> list[str]:
        """The words before a command that bring it there: into its network alone, or into all of it."""
        if whole:
            return ["nsenter", "--target", str(self.pid), "--net", "--pid", "--mount", "--"]
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in its network: a socket that is made now stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _set_network(there)
            yield
        finally:
            _set_network(home)
            os.close(home)
            os.close(there)

    def power_off(self) -> None:
        """Everything on it is gone at once."""
        if self._outer.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._outer.wait(30)
        for pipe in (self._outer.stdout, self._outer.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def host(boot_id: str | None = None, folder: Path | None = None) -> Iterator[Host]:
    made = Host(boot_id, folder)
    try:
        yield made
    finally:
        made.power_off()


class Cable:
    """Between two hosts, which are 10.231.N.1 and 10.231.N.2 on it."""

    def __init__(self, one: Host, other: Host) -> None:
        number = next(_numbers)
        self.number = number
        self.addresses = (f"10.231.{number}.1", f"10.231.{number}.2")
        self._hosts = (one, other)
        self._names = (f"gy{number}a", f"gy{number}b")
        one.run("ip", "link", "add", "dev", self._names[0], "type", "veth", "peer", "name", self._names[1])
        one.run("ip", "link", "set", "dev", self._names[1], "netns", str(other.pid))
        for end, address, name in zip(self._hosts, self.addresses, self._names, strict=True):
            end.run("ip", "addr", "add", f"{address}/24", "dev", name)
            end.run("ip", "link", "set", "dev", name, "up")

    def cut(self, sender: int) -> None:
        """What host 0 or 1 of it sends is lost from now on."""
        peer, name = self.addresses[1 - sender], self._names[sender]
        neighbour = ("ip", "neigh", "replace", peer, "lladdr", NOBODY, "dev", name, "nud", "permanent")
        self._hosts[sender].run(*neighbour)

    def cut_both(self) -> None:
        self.cut(0)
        self.cut(1)

    def mend(self) -> None:
        for end, name, peer in zip(self._hosts, self._names, reversed(self.addresses), strict=True):
            with suppress(Forbidden):  # it was not cut in this direction
                end.run("ip", "neigh", "del", peer, "dev", name)


def children(pid: int) -> list[int]:
    """The children of a process, once it has some."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return eventually(lambda: [int(word) for word in path.read_text().split()], 30)


def boottime() -> float:
    """The same on all hosts of a machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _set_network(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "the network could not be entered")
