"""Is the page quick with 50,000 jobs? First paint on loopback, bytes at first load, jumps, and how soon a change shows.

A server with simulated GPUs, 50,000 waiting jobs, a headless Chromium, an empty cache. Bars: first paint below 1 s,
150 kB gzipped for a page with all it loads, no layout shift (0.01) beside the rows of tables while jobs come and go, a
change seen within 1 s.
The value is the share of its bar that the median uses up. Run: python tools/bench/is_the_page_quick.py [--jobs 50000]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from typing import Any

from harness import Api, Ratio, median, report, server
from playwright.sync_api import Browser, Page, sync_playwright

ROUNDS = 5
BATCH = 1_000
PATHS = ("/", "/jobs", "/jobs?all=1&offset=40000", "/usage")
PAINT_SECONDS, PAGE_BYTES, SHIFT, SEEN_SECONDS = 1.0, 150_000, 0.01, 1.0

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
BYTES = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
WATCH = """() => {
    window.shifted = 0;
    const within = ({ node }) => !node || (node.nodeType === 1 ? node : node.parentElement)?.closest("table, ul");
    new PerformanceObserver((list) => {
        for (const one of list.getEntries()) if (!one.sources.every(within)) window.shifted += one.value;
    }).observe({ type: "layout-shift", buffered: true });
}"""
# When the words first stand on the page, in epoch milliseconds.
SEEN = """(words) => new Promise((resolve) => {
    const look = () => document.body.textContent.includes(words) && resolve(Date.now());
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    look();
})"""


def fill(api: Api, jobs: int) -> str:
    """One job, whose id is answered, holds the GPU that all others want."""
    holder: Any = api.ask(
        "POST", "/api/queue/submit", {"command": ["sleep", "3000"], "device_ids": [0], "name": "in the way"}
    )
    waiting = {"command": ["true"], "device_ids": [0]}
    for first in range(0, jobs, BATCH):
        names = range(first, min(first + BATCH, jobs))
        api.ask("POST", "/api/queue/submit", [{**waiting, "name": f"waits {number}"} for number in names])
    return str(holder["job_id"])


def opened(browser: Browser, url: str, path: str) -> tuple[float, int]:
    """(seconds to the first paint, bytes on the wire) of a first visit."""
    context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(path)
    page.wait_for_selector("#live[data-state=live]")
    paint, size = page.evaluate(PAINT), page.evaluate(BYTES)
    context.close()
    return paint / 1000, int(size)


def seen(page: Page, api: Api, number: int) -> float:
    """Seconds from an accepted submit to its words on the page."""
    words = f"look here {number}"
    page.evaluate(f"void (window.seen = ({SEEN})({words!r}))")
    at = time.time()
    job: Any = api.ask("POST", "/api/queue/submit", {"command": ["sleep", "300"], "name": words, "num_processes": 0})
    shown = page.evaluate("window.seen") / 1000
    api.ask("POST", f"/api/jobs/{job['job_id']}/cancel")
    return float(shown - at)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=50_000)
    jobs = parser.parse_args().jobs
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    ratios = []
    with server(4) as yard, sync_playwright() as playwright:
        api = yard.api()
        first = fill(api, jobs)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in PATHS:
            visits = [opened(browser, yard.url, path) for _ in range(ROUNDS)]
            paint, size = median([visit[0] for visit in visits]), visits[0][1]
            ratios.append(Ratio(f"first paint of {path}, of 1 s", paint / PAINT_SECONDS, 1.0, note=f"{paint:.2f} s"))
            ratios.append(Ratio(f"bytes of {path}, of 150 kB", size / PAGE_BYTES, 1.0, note=f"{size / 1000:.0f} kB"))
        page = browser.new_page(base_url=yard.url)
        page.goto("/jobs")
        page.evaluate(WATCH)
        page.wait_for_selector("#live[data-state=live]")
        late = median([seen(page, api, number) for number in range(ROUNDS)])
        ratios.append(Ratio("a change is seen, of 1 s", late / SEEN_SECONDS, 1.0, note=f"{late:.2f} s"))
        page.goto("/")
        page.evaluate(WATCH)
        page.wait_for_selector("#live[data-state=live]")
        seen(page, api, ROUNDS)
        shift = page.evaluate("window.shifted")
        ratios.append(Ratio("jumps of the overview, of 0.01", shift / SHIFT, 1.0, note=f"{shift:.4f}"))
        browser.close()
        api.ask("POST", f"/api/jobs/{first}/cancel")  # what is cancelled lets nobody in
        api.wait_idle()
    return report(ratios)


if __name__ == "__main__":
    sys.exit(main())
