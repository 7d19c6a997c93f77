"""A machine is brought in from the page: its token shown once, a real worker started with it, its GPUs at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, live
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, Worker, free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """2 simulated GPUs, and workers may come."""
    port = free_port()
    made = Server(tmp_path_factory.mktemp("fleet"), "--zmq-bind", f"tcp://127.0.0.1:{port}", gpus="2", **QUICK)
    try:
        yield made.start()
    finally:
        made.close()


def test_a_machine_is_brought_in(open_page: Open, server: Server, tmp_path: Path) -> None:
    page = open_page("/workers")
    live(page)
    expect(page.get_by_text("No worker is enrolled.")).to_be_visible()
    page.get_by_label("Name").fill("gpu-box-1")
    page.get_by_label("Labels").fill("gpu_type=a100, site=lab")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#reveal-connection_command")).to_contain_text("gpuyard worker")
    wait = page.locator("#reveal-wait")
    expect(wait).to_contain_text("Waiting until it connects")
    token = page.locator("#reveal-token").text_content()
    assert token
    worker = Worker(server, tmp_path / "worker", "gpu-box-1", token, gpus="3:H100:80").launch()
    try:
        expect(wait).to_have_text("Connected: 3 GPUs. It takes jobs now.")
        page.get_by_role("button", name="I have it").click()
        row = page.locator("tr", has_text="gpu-box-1")
        expect(row.locator(".status-idle")).to_be_visible()
        expect(row).to_contain_text("3 × Simulated H100")
        expect(row).to_contain_text("gpu_type=a100")
        page.reload()
        assert token not in page.content(), "it is shown once"
        _its_gpus_are_seen_at_work(open_page, server)
        row.get_by_role("button", name="Drain", exact=True).click()
        expect(row.locator(".status-draining")).to_be_visible()
    finally:
        worker.close()
    expect(row.locator(".status-offline")).to_be_visible()


def _its_gpus_are_seen_at_work(open_page: Open, server: Server) -> None:
    job = server.submit("sleep", "600", name="far away", target="worker", num_processes=2)["job_id"]
    server.wait_phase(job, timeout=60)
    page = open_page("/gpus")
    live(page)
    table = page.locator(".host-table", has_text="gpu-box-1")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table.get_by_role("link", name="far away")).to_have_count(2)
    expect(page.locator(".host-table", has_text="This server").locator("tbody tr")).to_have_count(2)
    expect(page.locator(".gantt-name")).to_have_count(5)
    last = table.locator("tbody tr").last
    last.get_by_role("button", name="Exclude").click()
    expect(page.locator("#confirm")).to_contain_text("GPU 2 of gpu-box-1")
    page.get_by_role("button", name="Yes").click()
    expect(last.locator(".status-excluded")).to_be_visible()
    last.get_by_role("button", name="Include").click()
    expect(last.locator(".status-free")).to_be_visible()
    overview = open_page("/")
    expect(overview.locator("[data-region=gpus] h3", has_text="gpu-box-1")).to_contain_text("1 of 3 free")
    expect(overview.locator("[data-region=summary]")).to_contain_text("3 of 5")
    one = open_page(f"/jobs/{job}")
    expect(one.locator("[data-region=job]")).to_contain_text("gpu-box-1")
    server.post(f"/api/jobs/{job}/cancel")
    server.wait(job, timeout=60)
