"""Do questions grow slower with the queue? `GET /api/queue/stats`, the first and the last page of `GET /api/queue`.

Two servers: 10 waiting jobs, and 100,000. Medians of interleaved rounds over one kept-alive connection. Bar: 1.5x.
Run: python tools/bench/reads.py [--jobs 100000]
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from harness import Api, Ratio, median, report, server

FEW, MANY = 10, 100_000
BATCH = 1_000
PAGE = 10
ROUNDS, ASKS = 8, 40


def fill(api: Api, jobs: int) -> None:
    """One running job and `jobs` that wait behind it."""
    api.ask("POST", "/api/queue/submit", {"command": ["/bin/sleep", "600"]})
    for first in range(0, jobs, BATCH):
        api.ask("POST", "/api/queue/submit", [{"command": ["/bin/true"]}] * min(BATCH, jobs - first))


def asked(api: Api, path: str) -> float:
    """Median seconds of a question."""
    times = []
    for _ in range(ASKS):
        began = time.perf_counter()
        api.ask("GET", path)
        times.append(time.perf_counter() - began)
    return median(times)


def main() -> int:
    many = int(sys.argv[2]) if sys.argv[1:2] == ["--jobs"] else MANY
    with server(gpus=1) as small, server(gpus=1) as big:
        apis = [small.api(), big.api()]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(fill, apis, (FEW, many)))
        # The same number of entries from both, so that only the depth differs.
        paths = {
            "GET /api/queue/stats": ("/api/queue/stats",) * 2,
            "first page of GET /api/queue": (f"/api/queue?status=pending&limit={PAGE}",) * 2,
            "last page of GET /api/queue": tuple(
                f"/api/queue?status=pending&limit={PAGE}&offset={jobs - PAGE}" for jobs in (FEW, many)
            ),
        }
        rounds: dict[str, list[tuple[float, float]]] = {question: [] for question in paths}
        for _ in range(ROUNDS):
            for question, pair in paths.items():
                few, deep = (asked(api, path) for api, path in zip(apis, pair, strict=True))
                rounds[question].append((few, deep))
        for api in apis:
            api.ask("POST", "/api/jobs/cancel", {"all": True})
            api.wait_idle()
            api.close()
    return report(
        [
            Ratio(
                f"{question} with {many:,} waiting jobs against {FEW}",
                median([deep / few for few, deep in found]),
                1.5,
                note=f"{median([d for _, d in found]) * 1e3:.2f} ms against {median([s for s, _ in found]) * 1e3:.2f}",
            )
            for question, found in rounds.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
