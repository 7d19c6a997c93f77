"""The first hour of a person: open, submit, watch, cancel, ask why; all by looking at what a browser shows."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server

COUNT = ["python3", "-u", "-c", "import time\nfor i in range(10000): print('step', i); time.sleep(0.05)"]


def test_submit_watch_and_cancel(open_page: Open) -> None:
    page = open_page("/")
    live(page)
    expect(page.get_by_text("You have no active jobs.")).to_be_visible()
    page.get_by_role("link", name="Submit").click()
    page.get_by_label("or a command").fill("python3 -u -c \"import time; print('hello there'); time.sleep(600)\"")
    page.get_by_label("Name").fill("my first run")
    page.get_by_label("GPUs", exact=True).fill("2")
    expect(page.locator("#forecast")).to_have_text("It would start now on GPU 0, 1.")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/jobs/*")
    expect(page.get_by_role("heading", level=1)).to_contain_text("my first run")
    expect(page.locator(".status-running")).to_be_visible()
    expect(page.locator(".log")).to_contain_text("hello there")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#confirm")).to_contain_text("Cancel my first run?")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("[data-region=job] .status-cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_change_shows_by_itself_in_every_open_page(open_page: Open, server: Server) -> None:
    overview, table = open_page("/"), open_page("/jobs")
    live(overview)
    live(table)
    job_id = server.submit("sleep", "600", name="from elsewhere")["job_id"]
    for page in (overview, table):
        expect(page.get_by_role("link", name="from elsewhere", exact=True).first).to_be_visible()
    expect(overview.locator(".tile-held").first).to_contain_text("from elsewhere")
    server.request("POST", f"/api/jobs/{job_id}/cancel")
    expect(overview.get_by_text("You have no active jobs.")).to_be_visible()
    expect(table.get_by_role("link", name="from elsewhere", exact=True)).to_have_count(0)


def test_a_paused_page_stays_and_catches_up(open_page: Open, server: Server) -> None:
    page = open_page("/jobs")
    live(page)
    page.locator("#live").click()
    expect(page.locator("#live-words")).to_have_text("paused")
    server.submit("sleep", "600", name="unseen")
    other = open_page("/jobs")
    expect(other.get_by_role("link", name="unseen", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="unseen", exact=True)).to_have_count(0)
    page.locator("#live").click()
    expect(page.get_by_role("link", name="unseen", exact=True)).to_be_visible()


def test_why_a_job_waits_and_what_unblocks_it(open_page: Open, server: Server) -> None:
    first = server.submit("sleep", "600", name="holder", num_processes=4)["job_id"]
    second = server.submit("sleep", "600", name="waiter", num_processes=1)["job_id"]
    page = open_page(f"/jobs/{second}")
    expect(page.get_by_role("heading", name="Why it waits")).to_be_visible()
    expect(page.locator(".waits")).to_contain_text("GpusBusy")
    expect(page.locator(".waits")).to_contain_text(first)


def test_many_jobs_are_cancelled_at_once_with_one_question(open_page: Open, server: Server) -> None:
    for number in range(6):
        server.submit("sleep", "600", name=f"bulk-{number}")
    page = open_page("/jobs")
    page.get_by_label("Select all on this page").check()
    expect(page.locator("#bulk-count")).to_have_text("6 jobs selected")
    page.locator("[data-bulk=cancel]").click()
    expect(page.locator("#confirm")).to_contain_text("Cancel 6 jobs?")
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#said")).to_contain_text("6 done")
    expect(page.get_by_text("The queue is empty.")).to_be_visible()


def test_the_log_follows_pauses_and_is_searched(open_page: Open, server: Server) -> None:
    job_id = server.submit(*COUNT, name="counter", num_processes=0)["job_id"]
    page = open_page(f"/jobs/{job_id}")
    log = page.locator(".log")
    expect(log).to_contain_text("step 30")
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "true")
    log.evaluate("box => { box.scrollTop = 0 }")
    expect(follow).to_have_attribute("aria-pressed", "false")
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Search").fill("step 7")
    expect(page.locator("[data-log-found]")).to_contain_text("of")
    expect(page.locator(".line.here")).to_contain_text("step 7")
    page.get_by_label("Search").fill("step 150")  # most likely still to come
    expect(page.locator("[data-log-found]")).to_contain_text("1 of")
    expect(page.locator(".line.here")).to_contain_text("step 150")


def test_tabs_that_nobody_sees_leave_the_server_to_the_one_in_front(open_page: Open, server: Server) -> None:
    """A browser opens six connections to a server at most, and a job's page follows two streams."""
    job_id = server.submit(*COUNT, name="counter", num_processes=0)["job_id"]
    first = open_page(f"/jobs/{job_id}")
    for _ in range(6):
        tab = first.context.new_page()
        tab.goto(f"/jobs/{job_id}")
        live(tab)
        show(tab, hidden=True)
    first.reload()
    live(first)
    log = first.locator(".log")
    expect(log).to_contain_text("step 30")
    show(first, hidden=True)
    show(first, hidden=False)
    live(first)
    server.post(f"/api/jobs/{job_id}/cancel")
    expect(first.locator("[data-region=job] .status-cancelled")).to_be_visible()
    shown = log.locator(".line").all_text_contents()
    assert shown == [f"step {number}" for number in range(len(shown))], "each line once"


def show(page: Page, hidden: bool) -> None:
    """What the browser tells a page when its tab goes to the back, or comes to the front."""
    page.evaluate("hidden => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })", hidden)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_hostile_names_and_logs_run_nothing(open_page: Open, server: Server) -> None:
    hostile = "<img src=x onerror=\"document.title='pwned'\">{{7*7}}"
    job_id = server.submit("printf", "%s\\n\\033[31m<script>document.title='pwned'</script>", hostile, name=hostile)[
        "job_id"
    ]
    for path in ("/", "/jobs?all=1", f"/jobs/{job_id}"):
        page = open_page(path)
        live(page)
        expect(page.locator("body")).to_contain_text("<img src=x")
        assert "pwned" not in page.title()
    expect(page.locator(".log .ansi-1")).to_contain_text("<script>")


def test_a_worker_is_brought_in_and_its_token_shown_once(open_page: Open) -> None:
    page = open_page("/workers")
    page.get_by_label("Name").fill("gpu-box-9")
    page.get_by_label("Labels").fill("gpu_type=a100, site=lab")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#reveal")).to_contain_text("gpuyard worker")
    expect(page.locator("#reveal-wait")).to_contain_text("Waiting until it connects")
    page.get_by_role("button", name="I have it").click()
    expect(page.locator("tr", has_text="gpu-box-9")).to_contain_text("gpu_type=a100")
    page.reload()
    expect(page.locator("#reveal")).to_be_hidden()


def test_limits_are_set_in_the_queue_panel(open_page: Open, server: Server) -> None:
    page = open_page("/cloud")
    page.get_by_role("button", name="Queue", exact=True).click()
    panel = page.locator("#queue-panel")
    for words in ("Queued", "Running", "Max Concurrent", "Avg Wait"):
        expect(panel.get_by_text(words, exact=True)).to_be_visible()
    panel.get_by_text("Settings").click()
    panel.get_by_label("Fair-Share Scheduling").check()
    panel.get_by_role("button", name="Set").click()
    expect(page.locator("#said")).to_contain_text("Limits set")
    assert server.get("/api/queue/concurrency").body["enable_fair_share"] is True


def test_an_approval_is_given_and_a_rejection_needs_a_reason(open_page: Open, server: Server) -> None:
    yes = server.submit("sleep", "600", name="dear one", requires_approval=True)["job_id"]
    no = server.submit("sleep", "600", name="too dear", requires_approval=True)["job_id"]
    page = open_page("/approvals")
    page.locator("li", has_text=no).get_by_role("button", name="Reject").click()
    page.locator("#ask-text").fill("not today")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li", has_text=no)).to_have_count(0)
    assert server.job(no)["error_message"] == "Rejected: not today"
    page.locator("li", has_text=yes).get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    assert server.job(yes)["status"] == "running"
