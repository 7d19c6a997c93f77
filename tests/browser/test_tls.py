"""The page of a server that others reach: over TLS, with a log-in that is bound to it, and live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.certificates import self_signed
from tests.e2e.network import PASSWORD, opened, with_people
from tests.e2e.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("network")
    made = Server(folder)
    try:
        yield opened(with_people(made), self_signed(folder))
    finally:
        made.close()


def test_a_person_logs_in_over_tls_and_sees_what_happens(open_page: Open, server: Server) -> None:
    # That nobody vouches for the certificate is what the command line's tests are about.
    page = open_page("/jobs", ignore_https_errors=True)
    page.wait_for_url("**/login?next=*")
    page.locator("input[name=username]").fill("root")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")
    page.wait_for_url("**/jobs")
    expect(page.locator("#live-words")).to_have_text("live")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-gpuyard_session", True, True)
    job_id = server.submit("sleep", "600", name="seen at once", num_processes=0)["job_id"]
    row = page.locator("tr", has_text="seen at once")
    expect(row).to_be_visible()
    assert server.post(f"/api/jobs/{job_id}/cancel").status == 200
    expect(row).to_have_count(0)
    page.goto(f"/jobs/{job_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("seen at once")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login*")
    assert page.context.cookies() == []
