"""What strangers wrote stands everywhere as text: names, logs, labels, reasons, rules, tokens, descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from gpuyard.api.web.pages import NAVIGATION
from tests.browser.conftest import Open, live
from tests.e2e.server import Server

HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>{{7*7}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("hostile"), "--zmq-bind", "tcp://127.0.0.1:0")
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def jobs(server: Server) -> dict[str, str]:
    """Jobs whose every word is hostile; everything else that people name is too."""
    more = {"name": HOSTILE, "metadata": {HOSTILE: HOSTILE}, "num_processes": 0}
    said = server.submit("printf", "%s\n\033[31m%s\033[0m\n", HOSTILE, HOSTILE, **more)["job_id"]
    failed = server.submit("sh", "-c", 'echo "$0" >&2; exit 1', HOSTILE, **more)["job_id"]
    no = server.submit("sleep", "600", requires_approval=True, **more)["job_id"]
    answer = server.post("/api/admin/workers", {"name": "w", "labels": {"site": HOSTILE}})
    assert answer.status == 200, answer.body
    rule = {"name": HOSTILE, "type": "config_pattern", "condition": HOSTILE}
    assert server.post("/api/approvals/rules", rule).status == 200
    assert server.post("/api/teams", {"name": HOSTILE[:60]}).status == 200
    approval = server.get("/api/approvals").body["approvals"][0]["id"]
    assert server.post(f"/api/approvals/{approval}/reject", {"reason": HOSTILE}).status == 200
    server.submit("sleep", "600", requires_approval=True, **more)
    waits = server.submit("sleep", "600", target="worker", worker_labels={"site": HOSTILE[:60]}, **more)["job_id"]
    for job in (said, failed, no):
        server.wait(job)
    return {"said": said, "failed": failed, "rejected": no, "waits": waits}


def test_no_page_runs_what_somebody_named(open_page: Open, jobs: dict[str, str]) -> None:
    """A script that was let in would be refused by the page's policy, which the browser says and this test hears."""
    page = open_page("/")
    addresses = [address for address, _ in NAVIGATION] + ["/jobs?all=1", "/jobs?q=%3Cimg+src%3Dx"]
    for address in [*addresses, *(f"/jobs/{job}" for job in jobs.values())]:
        page.goto(address)
        live(page)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # every region is laid anew, too
        assert "pwned" not in page.title(), address
        assert page.locator("main img, main script").count() == 0, address
    page.goto("/jobs?all=1")
    expect(page.locator(".job-name").first).to_have_text(HOSTILE)
    page.goto(f"/jobs/{jobs['said']}")
    expect(page.locator(".log .ansi-1")).to_contain_text("<script>")
    page.goto(f"/jobs/{jobs['rejected']}")
    expect(page.locator("[data-region=job]")).to_contain_text("Rejected: <img")


def test_what_one_types_stays_text(open_page: Open, jobs: dict[str, str]) -> None:
    page = open_page("/submit", expected="Failed to load resource")
    page.locator("#toml").fill(f"command = ['echo']\nname = {json.dumps(HOSTILE)}\n")
    expect(page.get_by_label("Name")).to_have_value(HOSTILE)
    page.get_by_label("Target").select_option("worker")
    expect(page.locator("#forecast p").first).to_be_visible()
    page.get_by_label("Config", exact=True).fill("nothing")
    page.get_by_label("or a command").fill("")
    expect(page.locator("#forecast")).to_contain_text("there is no config")
    page.goto(f"/jobs/{jobs['said']}")
    page.get_by_label("Search").fill(HOSTILE[:20])
    expect(page.locator("[data-log-found]")).to_contain_text("of 2")
    page.goto(f"/login?next={'%22%3E%3Cscript%3E'}")
    assert page.locator("script").count() == 2 and "pwned" not in page.title()
