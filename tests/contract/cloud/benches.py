"""Where a provider is tried: how to make it, and orders that go well, go wrong, last long or are refused."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpuyard.actors.blobs.files import BlobFiles
from gpuyard.actors.cloud.provider import Provider
from gpuyard.actors.cloud.simulated import Simulated
from gpuyard.actors.model.cloud_remote import Order, token_of
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.sent_file import SentFile

# Two processes of one test session may share a cluster: their tokens must differ.
_numbers = itertools.count(os.getpid() << 16)


class Bench(ABC):
    """`code_of_failure` is the exit code that `failing` orders end with, None where the provider tells none.
    `runs_commands`: an order's command is really run."""

    owner = "gy-0a1b2c3d"
    code_of_failure: int | None = 3
    patience = 60.0
    runs_commands = True
    uploads_each_time = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def make(self) -> Provider:
        """A provider that works."""

    @abstractmethod
    def unreachable(self) -> Provider:
        """The same, but nobody is there."""

    def quick(self) -> Order:
        """Prints `hello` and ends well."""
        return self.order("sh", "-c", "echo hello")

    def failing(self) -> Order:
        return self.order("sh", "-c", "echo Error: so it is >&2; exit 3")

    def long(self) -> Order:
        return self.order("sh", "-c", "echo begun; exec sleep 600")

    @abstractmethod
    def refused(self) -> Order:
        """One that the provider will never take."""

    def with_files(self, contents: Mapping[str, bytes]) -> Order:
        """An order with these files, which counts the bytes of the first and runs the second."""
        first, *rest = contents
        return self.order(
            "sh", "-c", f'wc -c < "$0"; {" ".join(f"./{name}" for name in rest)}', first, sent=self.sent(contents)
        )

    def sent(self, contents: Mapping[str, bytes]) -> dict[str, SentFile]:
        """These files as the server keeps them."""
        sent = {}
        for name, content in contents.items():
            source = self.folder / "source"
            source.write_bytes(content)
            blob, size = BlobFiles(self.folder / "blobs").take(source, 1 << 30)
            sent[name] = SentFile(blob=blob, size=size, executable=name.endswith(".sh"))
        return sent

    def order(self, *argv: str, options: Mapping[str, Any] | None = None, **spec: Any) -> Order:
        fence = (7 << 40) + next(_numbers)
        return Order(
            token=token_of("0a1b2c3d4e5f", fence),
            spec=RunSpec(fence=fence, job_id=f"job{fence & 0xFFFF}", attempt=1, argv=argv, **spec),
            options=dict(options or {}),
            asked_at=0.0,
        )


class SimulatedBench(Bench):
    settings: Mapping[str, Any] = {}
    runs_commands = False
    uploads_each_time = True

    def make(self) -> Provider:
        return Simulated(self.settings, self.folder)

    def unreachable(self) -> Provider:
        return Simulated({"down": "the network is unplugged"}, self.folder)

    def quick(self) -> Order:
        return self.order("echo", "hello", options={"run_seconds": 0.05})

    def failing(self) -> Order:
        return self.order("false", options={"run_seconds": 0.05, "exit_code": 3})

    def long(self) -> Order:
        return self.order("sleep", "600", options={"run_seconds": 600})

    def refused(self) -> Order:
        return self.order("true", options={"run_seconds": "soon"})


class IdempotentSimulatedBench(SimulatedBench):
    settings = {"idempotent": True}
