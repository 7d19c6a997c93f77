"""Thousands of stories in which everything goes wrong that can; the rules of `world.py` hold in each.

A story that breaks one is printed, and can be played again: `python -m tests.sim SEED`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from gpuyard.actors.model.events import AttemptExited, GpuEmptied
from tests.sim.engine import Violation
from tests.sim.mutants import MUTANTS
from tests.sim.mutants.base import Mutant
from tests.sim.mutants.leases import NoNewLease, RenewedByItself
from tests.sim.summary import MUTANT, SEEDS
from tests.sim.world import World

BATCHES, SEEDS_A_BATCH = 10, 500
WALL_SECONDS = 180.0
"""For all batches together: a machine that is too slow for all seeds plays fewer."""
MOST_SEEDS = 400
"""In which a mistake must show."""

Record = Callable[[str, object], None]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_goes_wrong_no_job_runs_twice_and_none_is_lost(batch: int, record_property: Record) -> None:
    """The requirement of DESIGN 8, over the real Fleet, the real Agent and the real deciding core."""
    until = time.monotonic() + WALL_SECONDS * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) / BATCHES
    seeds = messages = 0
    wrong: list[str] = []
    for seed in range(batch * SEEDS_A_BATCH, (batch + 1) * SEEDS_A_BATCH):
        if time.monotonic() > until and seeds:
            break
        world = World(seed)
        try:
            world.play()
        except Violation as violation:
            wrong.append(f"{violation}\n{story_of(seed)}")
        seeds, messages = seeds + 1, messages + world.network.frames
    record_property(SEEDS, {"seeds": seeds, "messages": messages, "violations": len(wrong)})
    assert not wrong, "\n\n".join(wrong[:3])


def story_of(seed: int) -> str:
    world = World(seed, telling=True)
    try:
        world.play()
    except Violation as violation:
        world.engine.story.append(f"seed {seed}: {violation}")
    return "\n".join([f"python -m tests.sim {seed}", str(world.faults), *world.engine.story])


def test_the_same_seed_tells_the_same_story() -> None:
    assert story_of(7) == story_of(7)
    assert story_of(7) != story_of(8)


def test_stories_are_about_something() -> None:
    """Jobs run on several hosts, are lost, stopped, cancelled and begun again; the fleet has to ignore and refuse."""
    words: set[str] = set()
    counted: set[str] = set()
    for seed in range(60):
        world = World(seed, telling=True)
        world.play()
        words |= {word for line in world.engine.story for word in line.split()}
        counted |= set(world.server.fleet.counters)
    assert {"w0", "w1", "w2", "(lost)", "(cancelled)", "cancel", "drain", "rotate", "cut", "thaws", "restored"} <= words
    assert {"stale_beat", "waiting_session", "anothers_fence", "future_fence"} <= counted


class LateLook(World):
    """Looks away when a run is declared ended that still lives, to see what comes of it."""

    def is_told_of_an_end(self, event: AttemptExited) -> None:
        self.may_stop.add(event.fence)

    def is_told_of_empty_gpus(self, event: GpuEmptied) -> None:
        pass


@pytest.mark.parametrize("mutant", [RenewedByItself, NoNewLease], ids=lambda mutant: mutant.__name__)
def test_a_lease_that_is_counted_wrongly_ends_in_two_trainings_at_once(mutant: type[Mutant]) -> None:
    """So the first rule is one that can be broken, and the earlier ones are there to see it coming."""
    seen = set()
    with mutant.mistake():
        for seed in range(MOST_SEEDS):
            try:
                LateLook(seed, mutant.fleet, mutant.agent, mutant.worse).play()
            except Violation as violation:
                seen.add(str(violation).split(" ", 1)[1].split(":")[0])
            if "runs twice at once" in seen:
                return
    raise AssertionError(f"only {seen}")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_in_the_protocol_is_caught(mutant: type[Mutant], record_property: Record) -> None:
    caught: int | None = None
    with mutant.mistake():
        for seed in range(MOST_SEEDS):
            try:
                mutant.world(seed).play()
            except Violation:
                caught = seed
                break
    record_property(MUTANT, {"seed": caught, "seeds": MOST_SEEDS if caught is None else caught + 1})
    assert caught is not None, f"nothing shows in {MOST_SEEDS} stories that {mutant.__doc__}"
