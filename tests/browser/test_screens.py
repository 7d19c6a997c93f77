"""Screens at work: submitting by form and description, the log, usage, rules, and a whole first hour by keyboard."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server

LOG_MB = 100
FLOOD = f"""
line = "x" * 90
for n in range({LOG_MB} * 10_000): print(f"{{n:08d}} {{line}}")
print("the very end")
"""
MOST_LINES = 10_000


def test_form_and_description_say_the_same(open_page: Open, server: Server) -> None:
    (server.configs / "sdxl.toml").write_text('command = ["sleep", "600"]\nnum_processes = 2\n')
    page = open_page("/submit")
    toml, forecast = page.locator("#toml"), page.locator("#forecast")
    page.get_by_role("button", name="sdxl").click()
    expect(page.get_by_label("Config", exact=True)).to_have_value("sdxl")
    expect(toml).to_have_value('config_name = "sdxl"\n')
    expect(forecast).to_have_text("It would start now on GPU 0, 1.")
    page.get_by_label("Preferred GPUs").fill("2, 3")
    expect(toml).to_have_value('config_name = "sdxl"\ndevice_ids = [2, 3]\n')
    expect(forecast).to_have_text("It would start now on GPU 2, 3.")
    toml.fill("""
        command = ["python", "-c", "print('two words')"]   # a comment
        num_processes = 3
        any_gpu = true
        lease_seconds = 1_800

        [metadata]
        run_name = 'it is # no comment'
    """)
    expect(page.get_by_label("or a command")).to_have_value("""python -c 'print('"'"'two words'"'"')'""")
    expect(page.get_by_label("any GPUs will do")).to_be_checked()
    expect(page.get_by_label("Config", exact=True)).to_have_value("")
    page.get_by_label("GPUs", exact=True).fill("9")
    expect(forecast).to_contain_text("It would be refused")
    expect(toml).to_have_value(re.compile(r"""num_processes = 9[\s\S]*run_name = "it is # no comment\""""))
    page.get_by_label("GPUs", exact=True).fill("3")
    server.submit("sleep", "600", name="in the way", num_processes=2)
    page.get_by_label("Name").fill("by hand")
    expect(forecast).to_contain_text("It would wait at place 1.")
    expect(forecast).to_contain_text("To unblock: gpuyard")
    toml.fill("num_processes = two")
    expect(page.locator("#toml-said")).to_contain_text("line 1: two is no string")
    toml.fill('command = ["true"]\nnum_processes = 0\nname = "by hand"\n')
    expect(forecast).to_have_text("It would start now.")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("by hand")


def test_a_log_of_a_hundred_megabytes_stays_usable(open_page: Open, server: Server) -> None:
    job = server.submit(sys.executable, "-c", FLOOD, name="flood", num_processes=0)["job_id"]
    server.wait(job, "completed", timeout=120)
    page = open_page(f"/jobs/{job}")
    lines = page.locator(".log .line")
    expect(lines.last).to_have_text("the very end")
    first = lines.first.text_content()
    assert first is not None and int(first[:8]) > LOG_MB * 10_000 - MOST_LINES
    earlier = page.get_by_role("button", name="Load what came earlier")
    page.locator(".log").evaluate("box => { box.scrollTop = 0 }")
    earlier.click()
    expect(lines.first).not_to_have_text(first)
    before = lines.first.text_content()
    assert before is not None
    expect(lines.filter(has_text=first[:8])).to_have_count(1)
    page.get_by_label("Search").fill(before[:8])
    expect(page.locator("[data-log-found]")).to_have_text("1 of 1")
    assert lines.count() <= MOST_LINES


def test_a_job_tells_its_own_story(open_page: Open, server: Server) -> None:
    job = server.submit("sh", "-c", "echo step 3/4 loss 0.25; sleep 600", name="teller", num_processes=2)["job_id"]
    page = open_page(f"/jobs/{job}")
    live(page)
    about = page.locator("[data-region=job]")
    expect(about.get_by_text("75 %", exact=True)).to_be_visible()
    expect(about.locator(".life")).to_contain_text("runs")
    expect(about).to_contain_text("2 → 0-1")
    story = page.locator("[data-region=job_story]")
    expect(story).to_contain_text("submitted by owner")
    expect(story.locator("#again")).to_have_text(
        "gpuyard jobs submit --name teller --num-processes 2 -- sh -c 'echo step 3/4 loss 0.25; sleep 600'"
    )
    expect(page.locator("[data-region=job_gpus]")).to_contain_text("GPU memory and load over the run")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#said")).to_contain_text("Retry: done")
    server.wait(job, "cancelled")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#confirm")).to_contain_text("This cannot be undone.")
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("alert").first).to_contain_text("This part cannot be shown.")


def test_a_priority_is_set_and_a_job_held_on_its_page(open_page: Open, server: Server) -> None:
    server.submit("sleep", "600", num_processes=4)
    job = server.submit("sleep", "600", name="waiting one")["job_id"]
    page = open_page(f"/jobs/{job}")
    live(page)
    page.get_by_label("Priority").fill("45")
    page.get_by_role("button", name="Set").click()
    expect(page.locator(".facts")).to_contain_text("critical (45)")
    page.get_by_role("button", name="Hold").click()
    expect(page.locator(".waits")).to_contain_text("Held")
    page.get_by_role("button", name="Release").click()
    expect(page.locator(".waits")).not_to_contain_text("Held")


def test_usage_says_who_how_long_and_how_idle(open_page: Open, server: Server) -> None:
    server.wait(server.submit("true")["job_id"])
    page = open_page("/usage")
    for words in ("p50: half start within", "p95: 19 of 20 start within", "GPU-hours idle while work waited"):
        expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator(".histogram tbody tr")).to_have_count(9)
    expect(page.locator(".column")).to_have_count(30)
    page.get_by_role("link", name="by place").click()
    page.get_by_role("link", name="7 days").click()
    expect(page.locator(".column")).to_have_count(7)
    expect(page.locator(".bars").first).to_contain_text("local")
    with page.expect_download() as download:
        page.get_by_role("link", name="as CSV").click()
    assert download.value.path().read_text().startswith("period,")


def test_a_rule_is_made_tried_and_taken_back(open_page: Open, server: Server) -> None:
    server.submit("true", num_processes=0, estimated_cost=60.0)
    page, other = open_page("/approvals"), open_page("/approvals")
    live(other)
    page.get_by_text("Add a rule").click()
    page.get_by_label("Name").fill("dear runs")
    page.get_by_role("spinbutton", name="Threshold").fill("50")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.locator("tr", has_text="dear runs")
    expect(other.locator("tr", has_text="dear runs")).to_be_visible()  # another tab hears of it
    expect(row).to_contain_text("cost exceeds 50")
    row.get_by_role("button", name="Test").click()
    expect(page.locator("#said")).to_have_text(re.compile(r"Of the last \d+ submits it would have blocked 1\."))
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Yes").click()
    expect(row).to_have_count(0)


def tab_to(page: Page, wanted: Callable[[str], bool]) -> None:
    """Press Tab until `wanted` likes the words or the name of what has the focus."""
    for _ in range(120):
        page.keyboard.press("Tab")
        words = page.evaluate("(document.activeElement.name || document.activeElement.textContent).trim()")
        if wanted(words):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "focus is seen"
            return
    raise AssertionError("it is not reached by Tab")


def test_a_first_hour_by_keyboard_alone(open_page: Open, server: Server) -> None:
    """Submit, watch, look for it among the jobs, select it, cancel it, set a limit: no mouse at all."""
    page = open_page("/")
    live(page)
    tab_to(page, lambda words: words == "Submit")
    page.keyboard.press("Enter")
    page.wait_for_url("**/submit")
    tab_to(page, lambda words: words == "command")
    page.keyboard.type("sh -c 'echo by keys; sleep 600'")
    tab_to(page, lambda words: words == "name")
    page.keyboard.type("keys only")
    expect(page.locator("#forecast")).to_contain_text("It would start now on GPU")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    expect(page.locator(".log")).to_contain_text("by keys")
    tab_to(page, lambda words: words == "Jobs")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs")
    live(page)
    tab_to(page, lambda words: words == "q")
    page.keyboard.type("keys only")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs?q=*")
    tab_to(page, lambda words: words == "job")
    page.keyboard.press("Space")
    expect(page.locator("#bulk-count")).to_have_text("1 job selected")
    page.keyboard.press("Shift+Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.dataset.bulk") == "cancel":
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#confirm")).to_contain_text("Cancel 1 job?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".status-cancelled")).to_be_visible()
    page.goto("/cloud")
    tab_to(page, lambda words: words == "Queue")
    page.keyboard.press("Enter")
    expect(page.locator("#queue-panel")).to_be_visible()
    tab_to(page, lambda words: words == "Settings")
    page.keyboard.press("Enter")
    tab_to(page, lambda words: words == "enable_fair_share")
    was = server.get("/api/queue/concurrency").body["enable_fair_share"]
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Limits set")
    assert server.get("/api/queue/concurrency").body["enable_fair_share"] is not was
    page.keyboard.press("Escape")
    expect(page.locator("#queue-panel")).to_be_hidden()
