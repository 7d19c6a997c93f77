"""How patient the server is with its workers. All in seconds; decimals are allowed, for tests with short leases."""

from __future__ import annotations

import msgspec


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`silent_beats` heartbeats of silence end a session, so that another may be admitted; `drift` is how much slower
    than ours a worker's clock may run. An old key works for `key_grace` after its rotation; an ephemeral worker is
    removed when it was offline for `ephemeral_kept`. `specs_per_sync` bounds the orders in one frame, in bytes."""

    heartbeat: float = 10.0
    offline_after: float = 120.0
    lease_margin: float = 30.0
    drift: float = 0.01
    silent_beats: int = 3
    key_grace: float = 86_400.0
    ephemeral_kept: float = 3_600.0
    specs_per_sync: int = 512 << 10

    @property
    def silence(self) -> float:
        """How long a session must have been silent before another one may take its place."""
        return self.silent_beats * self.heartbeat

    def waited_out(self, lease: float) -> float:
        """How long the server waits for a worker whose runs may live for `lease` without word."""
        return lease * (1 + self.drift) + self.lease_margin
