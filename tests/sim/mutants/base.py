"""What a mistake in the protocol is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from gpuyard.actors.model.agent import Agent
from gpuyard.actors.model.fleet import (
    Fleet,
)
from tests.sim.faults import Faults
from tests.sim.world import World


class Mutant:
    """`fleet` and `agent` are the classes to play with; `mistake` patches what is no method of theirs."""

    fleet: ClassVar[type[Fleet]] = Fleet
    agent: ClassVar[type[Agent]] = Agent

    @staticmethod
    def worse(faults: Faults) -> None:
        """Partitions of all lengths."""
        faults.partition = 40.0

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        yield

    @classmethod
    def world(cls, seed: int) -> World:
        return World(seed, cls.fleet, cls.agent, cls.worse)
