"""What goes wrong in one story: drawn once from its seed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.engine import Engine
from tests.sim.network import Weather


@dataclass(slots=True)
class Faults:
    """Rates are mean seconds between two of a kind (0: never). `restores`: at a restart of the server an older database
    may come back, of which a copy is made every `backup` seconds; `wipes`: a machine may come back with an empty disk;
    `crowd`: so many jobs more, which have to wait for each other."""

    weather: Weather
    drift: float = 0.01
    slow_disk: float = 0.1
    failed_commits: float = 0.0
    server_crash: float = 0.0
    server_freeze: float = 0.0
    registry_restart: float = 0.0
    restores: bool = False
    backup: float = 60.0
    worker_crash: float = 0.0
    worker_freeze: float = 0.0
    keeper_kill: float = 0.0
    keeper_freeze: float = 0.0
    host_crash: float = 0.0
    host_freeze: float = 0.0
    wipes: bool = False
    partition: float = 0.0
    clone: float = 0.0
    liar: bool = False
    cancel: float = 0.0
    drain: float = 0.0
    rotate: float = 0.0
    delete: float = 0.0
    crowd: int = 0


def drawn(engine: Engine) -> Faults:
    """Few kinds at a time, so that each has room to do its worst."""
    pick, between, chance = engine.random.choice, engine.between, engine.chance
    weather = Weather(
        loss=pick([0.0, 0.0, 0.1, 0.3, 0.5]),
        twice=pick([0.0, 0.0, 0.1, 0.3]),
        late=pick([0.0, 0.0, 0.05, 0.2]),
        latest=pick([3.0, 30.0, 150.0]),
        usual=pick([0.05, 0.5, 2.0]),
    )

    def often(probability: float, low: float = 30.0, high: float = 200.0) -> float:
        return between(low, high) if chance(probability) else 0.0

    return Faults(
        weather=weather,
        slow_disk=pick([0.02, 0.2, 2.0]),
        failed_commits=pick([0.0, 0.0, 0.0, 0.01]),
        server_crash=often(0.4),
        server_freeze=often(0.15, 60.0, 200.0),
        registry_restart=often(0.15),
        restores=chance(0.3),
        worker_crash=often(0.35),
        worker_freeze=often(0.25),
        keeper_kill=often(0.25),
        keeper_freeze=often(0.2),
        host_crash=often(0.35, 60.0, 300.0),
        host_freeze=often(0.2, 60.0, 300.0),
        wipes=chance(0.2),
        partition=often(0.5),
        clone=often(0.15, 60.0, 200.0),
        liar=chance(0.15),
        cancel=often(0.4, 20.0, 100.0),
        drain=often(0.25),
        rotate=often(0.2, 60.0, 200.0),
        delete=often(0.08, 100.0, 300.0),
    )
