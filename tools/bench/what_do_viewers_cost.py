"""What do 200 open pages cost the gap between two jobs?

The gap on one slot (tools/bench/gap.py) without any page and with 200 overviews open, in turns. A viewer does what
the page does: it follows the stream of its regions. Bar: 20 % more. Run: python tools/bench/what_do_viewers_cost.py
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from gap import queued
from harness import Ratio, median, report, server

VIEWERS = 200
ROUNDS = 3
RUNS = 90
LONGEST = 1 << 20
NAMES = "summary,numbers,approvals,limits,my_jobs,gpus,depth,failures,timeline"


async def viewer(host: str, port: int, counts: dict[str, int]) -> None:
    """One page: its stream, of which it reads all."""
    reader, writer = await asyncio.open_connection(host, port, limit=LONGEST)
    writer.write(f"GET /ui/stream?names={NAMES} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    drawn = False
    try:
        while line := await reader.readline():
            if line == b"event: regions\n":
                counts["updates"] += 1
                counts["open"] += not drawn
                drawn = True
    finally:
        writer.close()


class Audience:
    """`VIEWERS` open pages in a process of their own, which gets what the others leave of the processor: in life pages
    are open on other machines. `updates` is how many they were sent in all."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = (parts.hostname or "", parts.port or 0)
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=sit, args=(theirs, *self._place), daemon=True)
        self.updates = 0

    def __enter__(self) -> Audience:
        self._process.start()
        assert self._ours.recv() == "open"
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send("leave")
        self.updates = self._ours.recv()
        self._process.join(10)


def sit(told: Connection, host: str, port: int) -> None:
    """What the process of the pages does until it is told to leave."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(_sit(told, host, port))


async def _sit(told: Connection, host: str, port: int) -> None:
    counts = {"open": 0, "updates": 0}
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(told.fileno(), end.set)
    pages = [asyncio.create_task(viewer(host, port, counts)) for _ in range(VIEWERS)]
    while counts["open"] < VIEWERS:
        await asyncio.sleep(0.05)
    told.send("open")
    await end.wait()
    assert not any(page.done() for page in pages), "a page was closed"
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)
    told.send(counts["updates"])


def main() -> int:
    alone: list[float] = []
    watched: list[float] = []
    ratios: list[float] = []
    updates = 0
    with server(gpus=1) as bench:
        api = bench.api()
        queued(bench, api, 5)
        for _ in range(ROUNDS):
            quiet = queued(bench, api, RUNS)
            with Audience(bench.url) as audience:
                seen = queued(bench, api, RUNS)
            updates += audience.updates
            ratios.append(median(seen) / median(quiet))
            alone += quiet
            watched += seen
        api.close()
    note = f"{median(watched) * 1e3:.2f} ms against {median(alone) * 1e3:.2f} ms; {updates} updates sent"
    return report([Ratio(f"gap with {VIEWERS} open pages against none", median(ratios), 1.2, note=note)])


if __name__ == "__main__":
    sys.exit(main())
