"""`python -m tests.sim SEED`: play one story again and print it. `python -m tests.sim FIRST LAST`: play many."""

from __future__ import annotations

import sys
import time
import traceback

from tests.sim.engine import Violation
from tests.sim.world import World


def tell(seed: int) -> int:
    world = World(seed, telling=True)
    print(world.faults)
    try:
        world.play()
    except (Violation, Exception) as error:  # noqa: BLE001 - whatever it is, the story is what is asked for
        print("\n".join(world.engine.story))
        if not isinstance(error, Violation):
            traceback.print_exc()
        print(f"seed {seed}: {error}")
        return 1
    print("\n".join(world.engine.story))
    print(f"seed {seed}: all rules held; {world.network.frames} messages")
    return 0


def many(first: int, last: int) -> int:
    began, frames, wrong = time.perf_counter(), 0, 0
    for seed in range(first, last):
        world = World(seed)
        try:
            world.play()
        except Exception as error:  # noqa: BLE001
            wrong += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}")
        frames += world.network.frames
    print(f"{last - first} seeds, {frames} messages, {wrong} violations, {time.perf_counter() - began:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(tell(numbers[0]) if len(numbers) == 1 else many(*numbers))
