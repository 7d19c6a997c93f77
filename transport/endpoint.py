"""Where a server listens and where its workers find it: `tcp://HOST:PORT`."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

from gpuyard.actors.model.errors import InvalidInput

ADDRESS: Final = re.compile(r"(?:tcp://)?(\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9_.-]+|\*):(\d{1,5})")
EVERYWHERE: Final = frozenset({"*", "0.0.0.0", "[::]"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host` is a name or an address, an IPv6 one in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Of `tcp://HOST:PORT` or `HOST:PORT`. Raises InvalidInput."""
        found = ADDRESS.fullmatch(text.strip())
        if found is None or int(found[2]) > 65535:
            raise InvalidInput(f"{text!r} is no address of the form tcp://HOST:PORT")
        return cls(found[1], int(found[2]))

    @property
    def ipv6(self) -> bool:
        return self.host.startswith("[")

    def at(self, port: int) -> Endpoint:
        return Endpoint(self.host, port)

    def reachable(self) -> Endpoint:
        """As another host may know it: one that listens everywhere is found by this machine's name."""
        return Endpoint(socket.gethostname(), self.port) if self.host in EVERYWHERE else self

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"
