"""A real headless Chromium before a real server. One of each a module; every test gets a page of its own.

Skipped, with a word, where no Chromium is installed (Debian: chromium); CI installs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.e2e.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# A page under a loaded machine may take its time; what is waited for comes or the test fails.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """4 simulated GPUs, up to 4 local jobs at once."""
    made = Server(tmp_path_factory.mktemp("server"), "--zmq-bind", "tcp://127.0.0.1:0")
    try:
        made.start().limits(local_job_max_concurrent=4)
        yield made
    finally:
        made.close()


def live(page: Page) -> None:
    """Wait until the page follows what happens."""
    expect(page.locator("#live-words")).to_have_text("live")


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """Open a page of the server in a context of its own, logged in by `token` if that is given. Whatever the browser
    complains of fails the test, but for what `expected` says, such as the status of an answer."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_it(path: str = "/", token: str = "", expected: str = "", **options: Any) -> Page:
        def complain(message: ConsoleMessage) -> None:
            if message.type == "error" and not (expected and expected in message.text):
                complaints.append(message.text)

        context = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        if token:
            answer = context.request.post("/api/login/token", headers={"Authorization": f"Bearer {token}"})
            assert answer.ok, answer.text()
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(autouse=True)
def _no_jobs_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        if server.process is not None and server.process.poll() is None:
            server.request("POST", "/api/jobs/cancel", {"all": True, "all_users": True})
