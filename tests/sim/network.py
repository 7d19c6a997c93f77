"""The network between hosts and the server: it loses, repeats, delays, reorders, and can be cut in either direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim.engine import Engine

UP, DOWN = "up", "down"


@dataclass(slots=True)
class Weather:
    """`loss` and `twice` are probabilities a frame; `late` is that of one that comes after up to `latest` seconds."""

    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    latest: float = 0.0
    usual: float = 0.05


class Network:
    """`cut` holds (host, direction) pairs that nothing passes; `calm` hosts whose frames all pass at once."""

    def __init__(self, engine: Engine, weather: Weather) -> None:
        self.weather = weather
        self.cut: set[tuple[str, str]] = set()
        self.calm: set[str] = set()
        self.frames = 0
        self._engine = engine

    def send(self, host: str, direction: str, deliver: Callable[..., None], *args: Any) -> None:
        """A frame on its way. It may arrive after a process that it was meant for has gone."""
        self.frames += 1
        engine, weather = self._engine, self.weather
        if (host, direction) in self.cut:
            return
        if host in self.calm:
            engine.after(0.01, deliver, *args)
            return
        for _ in range(2 if engine.chance(weather.twice) else 1):
            if not engine.chance(weather.loss):
                late = engine.chance(weather.late)
                engine.after(engine.between(0.0, weather.latest if late else weather.usual), deliver, *args)
