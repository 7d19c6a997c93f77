"""What does durability cost a submit? And a list of 1,000 in one request?

The real server, with one trivial `async` POST more (bench_frontend.py). 16 connections submit jobs that wait; the rate
against that of the trivial POST. Then 1,000 jobs in one request against single ones. Bars: 50 % and 5x.
Run: python tools/bench/submit.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Api, Ratio, median, report

CONNECTIONS = 16
SECONDS = 2.0
ROUNDS = 4
LIST = 1_000
BODY = json.dumps({"command": ["/bin/true"], "name": "bench"}).encode()


def serve(folder: Path, module: str = "bench_frontend") -> None:
    """The child: a whole server whose Frontend is `module` and has more routes. It ends with its standard input."""
    from gpuyard.api.handover import FrontendConfig
    from gpuyard.api.process import FrontendProcess, bind
    from gpuyard.cli import data_folder, frontend_wiring, posture, settings as cli_settings, wiring

    settings = cli_settings.load({"data_dir": folder / "data", "simulate_gpus": "1"})
    data_folder.prepare(settings)
    listener = bind("127.0.0.1", 0)
    config = FrontendConfig(
        sockets_dir=str(settings.data_dir / data_folder.SOCKETS),
        settings=frontend_wiring.api_settings(settings, posture.judge(settings, lambda: 0)),
        log_level="warning",
    )
    supervisor = wiring.supervisor(settings, [FrontendProcess(listener, module, config)])
    sys.setswitchinterval(0.0005)
    supervisor.boot()
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), supervisor.stop()), daemon=True).start()
    supervisor.run()
    supervisor.shut_down()


@contextmanager
def served(script: str) -> Iterator[tuple[int, Api]]:
    """The port of a ready server that `script --serve FOLDER` runs, and a connection to it."""
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, script, "--serve", folder]
        env = {**os.environ, "PYTHONPATH": paths}
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        assert child.stdout
        port = int(child.stdout.readline())
        api = Api(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while True:
            try:
                api.ask("GET", "/readyz")
                break
            except (OSError, RuntimeError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        try:
            yield port, api
        finally:
            child.communicate(timeout=60)


async def _connection(port: int, path: str, body: bytes, until: float, header: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{header}"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count


def rate(port: int, path: str, body: bytes, header: str = "") -> float:
    """Requests a second over all connections; `header` is a whole line more."""

    async def main() -> float:
        began = time.perf_counter()
        each = (_connection(port, path, body, began + SECONDS, header) for _ in range(CONNECTIONS))
        counts = await asyncio.gather(*each)
        return sum(counts) / (time.perf_counter() - began)

    return asyncio.run(main())


def list_rate(api: Api) -> float:
    """Jobs a second, 1,000 in one request."""
    body: list[Any] = [json.loads(BODY)] * LIST
    began = time.perf_counter()
    answers = api.ask("POST", "/api/queue/submit", body)
    assert all(answer["success"] for answer in answers)
    return LIST / (time.perf_counter() - began)


def main() -> int:
    with served(__file__) as (port, api):
        api.ask("POST", "/api/queue/submit", {"command": ["/bin/sleep", "600"]})
        trivial, single, listed = [], [], []
        for _ in range(ROUNDS):
            trivial.append(rate(port, "/bench/trivial", BODY))
            single.append(rate(port, "/api/queue/submit", BODY))
            listed.append(list_rate(api))
        api.ask("POST", "/api/jobs/cancel", {"all": True})
        api.wait_idle()
    return report(
        [
            Ratio(
                "durable submits over 16 connections against a trivial POST",
                median([a / b for a, b in zip(single, trivial, strict=True)]),
                0.5,
                at_least=True,
                note=f"{median(single):.0f}/s against {median(trivial):.0f}/s",
            ),
            Ratio(
                "jobs a second, 1,000 in one request against single ones",
                median([a / b for a, b in zip(listed, single, strict=True)]),
                5.0,
                at_least=True,
                note=f"{median(listed):.0f}/s against {median(single):.0f}/s",
            ),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        sys.exit(main())
