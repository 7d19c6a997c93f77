"""What do 200 open pages cost the gap between two jobs?

The gap on one slot (tools/bench/gap.py) without any page and with 200 of them, in turns. A viewer does what the page's
script does: it follows the event stream and asks for its regions when something has changed, at most about once a
second, telling what it has. Bar: 20 % more. Run: python tools/bench/what_do_viewers_cost.py
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from gap import queued
from harness import Ratio, median, report, server

VIEWERS = 200
ROUNDS = 3
RUNS = 30
APART = 0.9
NAMES = "summary,numbers,approvals,limits,my_jobs,gpus,depth,failures,timeline"


async def viewer(host: str, port: int, counts: dict[str, int], end: asyncio.Event) -> None:
    """One page: its stream, and a connection for what it asks."""
    stream, to_stream = await asyncio.open_connection(host, port)
    reader, writer = await asyncio.open_connection(host, port)
    to_stream.write(f"GET /api/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    changed = asyncio.Event()

    async def follow() -> None:
        while line := await stream.readline():
            if line.startswith(b"event: queue_changed"):
                changed.set()

    following = asyncio.create_task(follow())
    have: dict[str, str] = {}
    counts["open"] += 1
    try:
        while not end.is_set():
            await changed.wait()
            changed.clear()
            known = ",".join(f"{name}:{tag}" for name, tag in have.items())
            writer.write(f"GET /ui?names={NAMES}&have={known} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            for name, one in json.loads(await reader.readexactly(length)).items():
                have[name] = one["tag"]
            counts["asked"] += 1
            await asyncio.sleep(APART)
    finally:
        following.cancel()
        for open_writer in (writer, to_stream):
            open_writer.close()


class Audience:
    """`VIEWERS` open pages in a process of their own, which gets what the others leave of the processor: in life pages
    are open on other machines. `asked` is how many answers they had."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = (parts.hostname or "", parts.port or 0)
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=sit, args=(theirs, *self._place), daemon=True)
        self.asked = 0

    def __enter__(self) -> Audience:
        self._process.start()
        assert self._ours.recv() == "open"
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send("leave")
        self.asked = self._ours.recv()
        self._process.join(10)


def sit(told: Connection, host: str, port: int) -> None:
    """What the process of the pages does until it is told to leave."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(_sit(told, host, port))


async def _sit(told: Connection, host: str, port: int) -> None:
    counts = {"open": 0, "asked": 0}
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(told.fileno(), end.set)
    pages = [asyncio.create_task(viewer(host, port, counts, end)) for _ in range(VIEWERS)]
    while counts["open"] < VIEWERS:
        await asyncio.sleep(0.05)
    told.send("open")
    await end.wait()
    for page in pages:
        page.cancel()
    await asyncio.gather(*pages, return_exceptions=True)
    told.send(counts["asked"])


def main() -> int:
    alone: list[float] = []
    watched: list[float] = []
    ratios: list[float] = []
    asked = 0
    with server(gpus=1) as bench:
        api = bench.api()
        queued(bench, api, 5)
        for _ in range(ROUNDS):
            quiet = queued(bench, api, RUNS)
            with Audience(bench.url) as audience:
                seen = queued(bench, api, RUNS)
            asked += audience.asked
            ratios.append(median(seen) / median(quiet))
            alone += quiet
            watched += seen
        api.close()
    note = f"{median(watched) * 1e3:.2f} ms against {median(alone) * 1e3:.2f} ms; {asked} answers to pages"
    return report([Ratio(f"gap with {VIEWERS} open pages against none", median(ratios), 1.2, note=note)])


if __name__ == "__main__":
    sys.exit(main())
