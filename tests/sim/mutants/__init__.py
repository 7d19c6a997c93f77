"""Mistakes that somebody might make in the protocol, each put into the real classes, one at a time.

Each is a class with a docstring that says what is wrong. `worse` makes certain the faults under which it shows, so that
it is caught within a few stories.
"""

from __future__ import annotations

from tests.sim.mutants import copies, ends, leases, lives, orders
from tests.sim.mutants.base import Mutant

MUTANTS: list[type[Mutant]] = [
    mutant
    for module in (leases, ends, orders, lives, copies)
    for mutant in vars(module).values()
    if isinstance(mutant, type) and issubclass(mutant, Mutant) and mutant is not Mutant
]
