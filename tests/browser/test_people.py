"""Several people before the same queue: who asks and who decides see each other's doings; logging in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server
from tests.support import eventually

PASSWORD = "correct horse battery staple"


class Person(NamedTuple):
    name: str
    token: str
    id: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """4 simulated GPUs; a rule asks a lead about what costs more than 50."""
    made = Server(tmp_path_factory.mktemp("society"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def people(server: Server) -> dict[str, Person]:
    found = {}
    for name, level in (("ann", "admin"), ("lea", "lead"), ("rob", "researcher"), ("vic", "viewer")):
        made = server.post("/api/users", {"username": name, "level": level}).body
        found[name] = Person(name, made["token"], made["user"]["id"] if "user" in made else made["id"])
        server.token = server.token or made["token"]
    server.limits(local_job_max_concurrent=4)
    rule = {"name": "dear", "type": "cost_exceeds", "threshold": 50, "required_approver_level": "lead"}
    assert server.post("/api/approvals/rules", rule).status == 200
    return found


def ask_for(page: Page, name: str) -> None:
    """Submit a dear job by its description."""
    page.goto("/submit")
    page.locator("#toml").fill(f'command = ["sleep", "600"]\nname = "{name}"\nestimated_cost = 96.0\n')
    expect(page.get_by_label("or a command")).to_have_value("sleep 600")
    expect(page.locator("#forecast")).to_contain_text("It would wait for an approval.")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/jobs/*")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_one_asks_and_another_decides_and_both_see_it(open_page: Open, people: dict[str, Person]) -> None:
    lead, rob = open_page("/approvals", token=people["lea"].token), open_page("/", token=people["rob"].token)
    live(lead)
    expect(lead.get_by_text("Nothing waits for a decision.")).to_be_visible()
    ask_for(rob, "first try")
    live(rob)
    expect(rob.locator("[data-region=job] .status-blocked")).to_be_visible()
    expect(rob.get_by_role("button", name="Approve")).to_have_count(0)
    row = lead.locator("li", has_text="first try")
    expect(row).to_contain_text("by rob")
    expect(row).to_contain_text("$96.00 is above $50.00")
    row.get_by_role("button", name="Reject").click()
    lead.get_by_role("button", name="Send").click()
    expect(lead.locator("#ask")).to_be_visible()  # a rejection needs a reason
    lead.locator("#ask-text").fill("use the small one first")
    lead.get_by_role("button", name="Send").click()
    expect(lead.get_by_text("Nothing waits for a decision.")).to_be_visible()
    expect(rob.locator("[data-region=job] .status-failed")).to_be_visible()
    expect(rob.locator("[data-region=job]")).to_contain_text("Rejected: use the small one first")
    ask_for(rob, "second try")
    live(rob)
    lead.locator("li", has_text="second try").get_by_role("button", name="Approve").click()
    expect(rob.locator("[data-region=job] .status-running")).to_be_visible()
    expect(rob.locator("[data-region=job_story]")).to_contain_text("approved by lea")


def test_nobody_is_offered_what_is_not_theirs(open_page: Open, server: Server, people: dict[str, Person]) -> None:
    job = server.submit("sleep", "600", name="of ann")["job_id"]
    rob = open_page("/jobs", token=people["rob"].token)
    live(rob)
    expect(rob.get_by_text("The queue is empty.")).to_be_visible()
    rob.goto(f"/jobs/{job}")
    expect(rob.get_by_role("alert").first).to_contain_text("This part cannot be shown.")
    expect(rob.get_by_role("link", name="All jobs that you may see").first).to_be_visible()
    rob.goto("/admin")
    expect(rob.get_by_role("alert").first).to_contain_text("this needs level lead")
    rob.goto("/cloud")
    rob.get_by_role("button", name="Queue", exact=True).click()
    rob.locator("#queue-panel").get_by_text("Settings").click()
    expect(rob.get_by_label("Fair-Share Scheduling")).to_be_disabled()
    lead = open_page(f"/jobs/{job}", token=people["lea"].token)
    expect(lead.locator("[data-region=job]")).to_contain_text("by ann")
    expect(lead.get_by_role("button", name="Cancel")).to_have_count(0)


def test_an_admin_adds_a_person_who_comes_in_by_the_token_shown_once(
    open_page: Open, server: Server, people: dict[str, Person]
) -> None:
    ann = open_page("/admin", token=people["ann"].token)
    form = ann.locator("form", has_text="Add a user")
    form.get_by_label("Name").fill("new-one")
    form.get_by_role("button", name="Add").click()
    token = ann.locator("#reveal-token").text_content()
    assert token and token.startswith("gy_")
    ann.get_by_role("button", name="I have it").click()
    row = ann.locator("[data-region=users] tr", has_text="new-one")
    expect(row).to_be_visible()
    ann.reload()
    assert token not in ann.content()
    new = open_page("/", token=token)
    live(new)
    expect(new.get_by_text("You have no active jobs.")).to_be_visible()
    team = server.post("/api/teams", {"name": "vision"}).body["id"]
    ann.reload()
    row.get_by_label("Team of new-one").select_option(team)
    row.locator("form", has=ann.get_by_label("Team of new-one")).get_by_role("button", name="Set").click()
    expect(ann.locator("#said")).to_contain_text("Team changed")
    row.get_by_role("button", name="Shut out").click()
    expect(row).to_contain_text("shut out")
    new.goto("/jobs")
    new.wait_for_url("**/login*")


def test_logging_in_and_out(open_page: Open, server: Server, people: dict[str, Person]) -> None:
    """Last here: it uses up the log-ins of this address."""
    assert server.request("PUT", f"/api/users/{people['rob'].id}/password", {"password": PASSWORD}).status == 200
    page = open_page("/jobs?status=running", expected="Failed to load resource")
    page.wait_for_url("**/login?next=*")
    name, word = page.get_by_label("Name"), page.get_by_label("Password")
    enter = page.locator("#password").get_by_role("button", name="Log in")
    name.fill("rob")
    word.fill("not the word")
    enter.click()
    expect(page.get_by_role("alert")).to_have_text("username and password do not belong together")
    word.fill(PASSWORD)
    enter.click()
    page.wait_for_url("**/jobs?status=running")
    live(page)
    expect(page.locator(".who")).to_contain_text("rob")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/jobs")
    page.wait_for_url("**/login*")

    def too_many() -> bool:
        server.post("/api/login", {"username": "nobody", "password": PASSWORD})
        name.fill("rob")
        word.fill("again not the word")
        enter.click()
        expect(enter).to_be_enabled()
        return "too many log-ins: try again in" in (page.get_by_role("alert").text_content() or "")

    eventually(too_many, timeout=120)
