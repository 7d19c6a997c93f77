"""Answers of the sockets between hosts."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class TokenIssued(View, frozen=True, kw_only=True):
    """`token` is the one line that starts the worker: shown once, stored nowhere. `public_key` (Z85) is kept."""

    public_key: str
    token: str
    endpoint: str

    def __repr__(self) -> str:
        return f"TokenIssued(public_key={self.public_key!r}, token=…, endpoint={self.endpoint!r})"


class GatewayStats(View, frozen=True, kw_only=True):
    """`refused` counts by cause what was refused or ignored (`transport/causes.py` names them); `sessions` are the
    connections that have greeted and were heard lately; `allowed_keys` the length of the allow-list."""

    endpoint: str
    sessions: int = 0
    allowed_keys: int = 0
    received: int = 0
    sent: int = 0
    refused: dict[str, int] = {}
