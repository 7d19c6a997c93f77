"""Which user is at the other end of a loopback connection (DESIGN 11).

Linux lists every TCP socket in /proc/net/tcp and tcp6. The client's socket is the row whose local address is our
peer. Only an established row (state 01) with an inode tells the truth: a closing socket shows uid 0.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path

PROC_NET = Path("/proc/net")
ESTABLISHED = "01"

Address = tuple[str, int]
UidOf = Callable[[Address, Address], int | None]


def _hex(address: bytes, port: int) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's byte order."""
    words = (address[i : i + 4] for i in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"


def _spellings(address: Address) -> tuple[str | None, str]:
    """An address as it stands in `tcp` (None for an IPv6 one) and in `tcp6`."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if isinstance(ip, ipaddress.IPv6Address):
        return None, _hex(ip.packed, address[1])
    mapped = bytes(10) + b"\xff\xff" + ip.packed
    return _hex(ip.packed, address[1]), _hex(mapped, address[1])


def _uid_in(table: str, client: str, server: str) -> int | None:
    """The uid of the established row from `client` to `server`; None without one."""
    start = table.find(f": {client} {server} {ESTABLISHED} ")
    if start < 0:
        return None
    # local, remote, state, queues, timer, retransmits, uid, timeout, inode
    columns = table[start + 2 : table.find("\n", start)].split()
    uid, inode = int(columns[6]), int(columns[8])
    return uid if inode else None


def uid_of(client: Address, server: Address, proc_net: Path = PROC_NET) -> int | None:
    """The uid that owns the client's end of the connection `client` → `server`; None when it can't be told."""
    (client4, client6), (server4, server6) = _spellings(client), _spellings(server)
    for name, a, b in (("tcp", client4, server4), ("tcp6", client6, server6)):
        if a is None or b is None:
            continue
        try:
            table = (proc_net / name).read_text("ascii")
        except OSError:
            continue
        uid = _uid_in(table, a, b)
        if uid is not None:
            return uid
    return None


class Connection:
    """One TCP connection: its two ends, and its peer's uid once it was looked up. Lives as long as it does.

    `abort` drops it with whatever it still has to send, for a peer that reads no more.
    """

    __slots__ = ("_uid", "abort", "client", "server")

    def __init__(
        self,
        client: Address | None = None,
        server: Address | None = None,
        abort: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self.server = server
        self.abort = abort
        self._uid: int | None = None

    async def peer_uid(self, lookup: UidOf) -> int | None:
        """The peer's uid: from `lookup`, in a thread, the first time; a failed look is repeated."""
        if self._uid is None and self.client and self.server:
            self._uid = await asyncio.to_thread(lookup, self.client, self.server)
        return self._uid
