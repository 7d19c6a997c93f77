"""For everybody: axe finds nothing serious on any page in either colours, at any width; the keyboard alone suffices."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect

from gpuyard.api.web.pages import NAVIGATION
from tests.browser.conftest import Open
from tests.e2e.server import Server

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PATHS = [address for address, _ in NAVIGATION]


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical, with the element it means."""
    page.evaluate(AXE)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{found['id']}: {found['help']}: {found['nodes'][0]['html'][:160]}"
        for found in result["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def busy(server: Server) -> str:
    """Jobs of several states, so that pages have something to show; the id of one that runs."""
    server.submit("false", name="failed one", num_processes=0)
    running = server.submit("sleep", "600", name="a run", num_processes=4)["job_id"]
    server.submit("sleep", "600", name="waits")
    server.submit("sleep", "600", name="blocked", requires_approval=True)
    return running


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, busy: str, scheme: str) -> None:
    found: dict[str, list[str]] = {}
    page = open_page("/", color_scheme=scheme)
    for path in [*PATHS, f"/jobs/{busy}"]:
        page.goto(path)
        expect(page.locator("#live-words")).to_have_text("live")
        found[path] = findings(page)
    assert {path: problems for path, problems in found.items() if problems} == {}


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_cut_off_on_a_narrow_screen(open_page: Open, busy: str, width: int) -> None:
    page, too_wide = open_page("/"), {}
    page.set_viewport_size({"width": width, "height": 800})
    for path in [*PATHS, f"/jobs/{busy}"]:
        page.goto(path)
        too_wide[path] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert {path: over for path, over in too_wide.items() if over > 0} == {}


def test_a_job_is_cancelled_by_keyboard_alone(open_page: Open, server: Server) -> None:
    job_id = server.submit("sleep", "600", name="by keys", num_processes=0)["job_id"]
    page = open_page(f"/jobs/{job_id}")
    expect(page.locator(".status-running")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Cancel":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus is visible"
    page.keyboard.press("Enter")
    expect(page.locator("#confirm")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Keep it", "the harmless answer has the focus"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("[data-region=job] .status-cancelled")).to_be_visible()


def test_reduced_motion_is_respected(open_page: Open) -> None:
    page = open_page("/", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") in ("0s", "")


def test_the_colours_are_chosen_and_kept(open_page: Open) -> None:
    page = open_page("/")
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
