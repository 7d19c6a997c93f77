"""A long queue is a short page, and nothing on it jumps while jobs come and go. How fast is measured in tools/bench."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server

JOBS = 2_000
MOST_BYTES = 150_000
BYTES = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
# Rows move within their own table or list when one comes or goes; nothing else may.
WATCH = """() => {
    window.shifted = 0;
    const within = ({ node }) => !node || (node.nodeType === 1 ? node : node.parentElement)?.closest("table, ul");
    new PerformanceObserver((list) => {
        for (const one of list.getEntries()) if (!one.sources.every(within)) window.shifted += one.value;
    }).observe({ type: "layout-shift", buffered: true });
}"""
LEAST_SHIFT = 0.01


@pytest.fixture
def waiting(server: Server) -> None:
    """`JOBS` jobs that wait for the GPU of one."""
    server.submit("sleep", "600", name="in the way", device_ids=[0])
    one = {"command": ["true"], "device_ids": [0]}
    for first in range(0, JOBS, 1_000):
        names = range(first, first + 1_000)
        answer = server.post("/api/queue/submit", [{**one, "name": f"waits {number}"} for number in names])
        assert answer.status == 200 and all(item["success"] for item in answer.body)


@pytest.mark.usefixtures("waiting")
def test_a_long_queue_is_a_short_page(open_page: Open) -> None:
    page = open_page("/jobs")
    live(page)
    for path in ("/", "/jobs", "/jobs?all=1&offset=1500", "/jobs?q=waits", "/usage"):
        page.goto(path)
        live(page)
        assert page.evaluate(BYTES) < MOST_BYTES, path
        assert page.locator("tbody tr").count() <= 60, path
    page.goto("/jobs")
    expect(page.locator(".jobs tbody tr")).to_have_count(50)
    expect(page.locator(".pager")).to_contain_text(f"1 to 50 of {JOBS + 1}")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pager")).to_contain_text(f"51 to 100 of {JOBS + 1}")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Select all that match").click()
    expect(page.locator("#bulk-count")).to_have_text(f"{JOBS + 1} jobs selected")
    page.locator("[data-bulk=cancel]").click()
    expect(page.locator("#confirm")).to_contain_text(f"Cancel {JOBS + 1} jobs?")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#said")).to_contain_text(f"{JOBS + 1} done")


@pytest.mark.usefixtures("waiting")
def test_nothing_jumps_while_jobs_come_and_go(open_page: Open, server: Server) -> None:
    for path in ("/", "/gpus"):
        page = open_page(path)
        page.evaluate(WATCH)
        live(page)
        before = server.stats()["by_status"].get("failed", 0)
        comes = server.submit("sleep", "600", name="comes", device_ids=[1])["job_id"]
        expect(page.get_by_role("link", name="comes", exact=True).first).to_be_visible()
        server.wait(server.submit("false", name="fails", num_processes=0)["job_id"])
        server.post(f"/api/jobs/{comes}/cancel")
        expect(page.get_by_role("link", name="comes", exact=True)).to_have_count(0)
        assert server.stats()["by_status"]["failed"] == before + 1
        assert page.evaluate("window.shifted") < LEAST_SHIFT, path
