"""The server goes away and comes back: the page says so, acts on nothing, and catches up by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server
from tests.e2e.worker import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Always at the same port, as a service is."""
    made = Server(tmp_path_factory.mktemp("away"), "--port", str(free_port()))
    try:
        yield made.start()
    finally:
        made.close()


def test_a_page_without_its_server_says_so_and_catches_up(open_page: Open, server: Server) -> None:
    waits = server.submit("sleep", "600", name="waits", num_processes=0, requires_approval=True)["job_id"]
    page = open_page(f"/jobs/{waits}", expected="ERR_")
    live(page)
    server.stop()
    expect(page.locator("#live-words")).to_have_text("out of date: trying again")
    expect(page.get_by_role("heading", level=1)).to_have_text("waits")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#said")).to_contain_text("The server cannot be reached. Nothing was changed; try again.")
    server.start()
    live(page)
    server.post(f"/api/queue/{waits}/approve")
    expect(page.locator("[data-region=job] .status-running")).to_be_visible()


def test_what_happened_while_nobody_could_look_is_shown_after(open_page: Open, server: Server) -> None:
    page = open_page("/jobs", expected="ERR_")
    live(page)
    page.context.set_offline(True)
    server.submit("sleep", "600", name="missed", num_processes=0)
    page.context.set_offline(False)
    live(page)
    expect(page.get_by_role("link", name="missed", exact=True)).to_be_visible()
