"""What does it cost a request to go through the link to an actor and back?

    python tools/bench/what_does_the_link_cost.py [SECONDS]

Three processes, as in production: the actors, the Frontend, and a client with 16 connections. Printed are requests a
second of a POST that the Frontend answers itself, of one that an actor answers over the link, and their ratio;
then the same as medians over one connection.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ProcessQueue, Ready
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import QueueProcessed
from gpuyard.api.app import create_app
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.permissions import RULES, Rule
from gpuyard.api.process import bind
from gpuyard.api.responses import JsonResponse
from gpuyard.api.server import Server
from gpuyard.api.settings import Settings
from gpuyard.transport.client import LinkClient
from gpuyard.transport.link import Link

TRIVIAL, ASKED = "/bench/trivial", "/bench/asked"
CONNECTIONS = 16
router = APIRouter()


@router.post(TRIVIAL)
async def trivial(viewer: ViewerDep) -> Response:
    return JsonResponse({"success": True, "dispatched": 0, "job_ids": []})


@router.post(ASKED)
async def asked(core: CoreDep, viewer: ViewerDep) -> Response:
    done = await core.ask(names.SCHEDULER, ProcessQueue(by=viewer))
    return JsonResponse({"success": True, "dispatched": 0, "job_ids": done.job_ids})


class Answering(Actor):
    def handle(self, message: Message, reply: Reply | None) -> Any:
        return True if isinstance(message, Ready) else QueueProcessed(job_ids=[])


def serve(listener: socket.socket, folder: Path) -> None:
    for path in (TRIVIAL, ASKED):
        RULES["POST", path] = Rule.VIEWER

    async def main() -> None:
        async with LinkClient(folder) as core:
            await core.wait_connected(10)
            await Server(create_app(core, Settings(), None, [router])).serve(sockets=[listener])

    asyncio.run(main())


async def connection(port: int, path: str, until: float, times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n".encode()
    while (began := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        times.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()


def load(port: int, path: str, seconds: float, connections: int) -> tuple[float, float]:
    """Requests a second, and the median in milliseconds."""

    async def main() -> tuple[float, float]:
        times: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(connection(port, path, began + seconds, times) for _ in range(connections)))
        return len(times) / (time.perf_counter() - began), statistics.median(times) * 1000

    return asyncio.run(main())


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name, bind("127.0.0.1", 0) as listener:
        server = fork.Process(target=serve, args=(listener, Path(name)))
        server.start()
        directory = Directory()
        actors = [
            start(Answering, Context(names.SCHEDULER, directory=directory)),
            start(Link, Context(names.LINK, directory=directory), Path(name)),
        ]
        port = listener.getsockname()[1]
        with fork.Pool(1) as client:
            for path in (TRIVIAL, ASKED):
                client.apply(load, (port, path, 1.0, CONNECTIONS))
            for connections in (CONNECTIONS, 1):
                rates = {TRIVIAL: list[tuple[float, float]](), ASKED: list[tuple[float, float]]()}
                for _ in range(3):
                    for path, found in rates.items():
                        found.append(client.apply(load, (port, path, seconds, connections)))
                best = {path: max(found) for path, found in rates.items()}
                ratio = best[ASKED][0] / best[TRIVIAL][0]
                print(
                    f"{connections:2} connections: trivial {best[TRIVIAL][0]:6.0f}/s  {best[TRIVIAL][1]:.2f} ms median"
                )
                print(f"{connections:2} connections: asked   {best[ASKED][0]:6.0f}/s  {best[ASKED][1]:.2f} ms median")
                print(f"{connections:2} connections: through the link and back {ratio:.0%} of a trivial POST's rate")
        server.terminate()
        server.join()
        for actor in actors:
            actor.stop()


if __name__ == "__main__":
    main()
