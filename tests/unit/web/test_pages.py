"""Pages over the real application: they show what the API says, escape what strangers wrote, and keep to themselves."""

from __future__ import annotations

import re

import pytest

from gpuyard.api.changes import TIME
from gpuyard.api.web import assets
from gpuyard.api.web.regions import REGIONS
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/cloud",
        "/usage",
        "/workers",
        "/approvals",
        "/admin",
        "/gpus",
        "/submit",
        "/jobs",
        "/jobs?status=pending,failed",
        "/jobs?offset=50&all=1",
    ],
)
def test_a_page_is_whole_and_carries_its_policy(yard: Yard, path: str) -> None:
    answer = yard.client.get(path, headers={"Accept-Encoding": "identity"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    assert re.search(r"<script(?![^>]*src=)", answer.text) is None, "no script stands in a page itself"
    assert " style=" not in answer.text and "<style" not in answer.text


def test_the_regions_that_are_new_come_in_one_answer(yard: Yard) -> None:
    names = ",".join(sorted(REGIONS))
    first = yard.get(f"/ui?names={names}")
    assert set(first) == set(REGIONS) and all("<html" not in one["html"] for one in first.values())
    have = ",".join(f"{name}:{one['tag']}" for name, one in first.items())
    again = yard.get(f"/ui?names={names}&have={have}")
    by_itself = {name for name, region in REGIONS.items() if TIME in region.watch}
    assert set(again) <= by_itself, "only what no event tells of"
    yard.submit("sleep", "60", name="new one", num_processes=0)
    # News comes a moment after the answer.
    changed = eventually(lambda: new if "jobs" in (new := yard.get(f"/ui?names={names}&have={have}")) else {})
    assert {"summary", "my_jobs", "jobs"} <= set(changed) and "new one" in changed["jobs"]["html"]
    assert "audit" in changed and "limits" not in changed
    assert yard.get("/ui?names=nonsense,jobs")["jobs"]["tag"] == changed["jobs"]["tag"]


def test_whoever_has_changed_something_finds_it_in_every_region(yard: Yard) -> None:
    """Also what no event of the core tells of, such as teams and secrets."""
    assert "vision" not in yard.get("/ui?names=users")["users"]["html"]
    yard.post("/api/teams", {"name": "vision"})
    assert "vision" in yard.get("/ui?names=users")["users"]["html"]


def test_nobody_gets_what_was_drawn_for_another(yard: Yard) -> None:
    yard.submit("sleep", "60", name="of ann", by="ann", num_processes=0)
    assert "of ann" in yard.get("/ui?names=jobs", by="ann")["jobs"]["html"]
    assert "of ann" not in yard.get("/ui?names=jobs", by="bob")["jobs"]["html"]
    assert "of ann" in yard.get("/ui?names=jobs", by="lead")["jobs"]["html"]
    assert "of ann" not in yard.get("/ui?names=jobs&status=failed", by="ann")["jobs"]["html"]


def test_what_strangers_wrote_stays_text(yard: Yard) -> None:
    job = yard.ask("POST", "/api/queue/submit", {"command": ["sleep", "60"], "name": HOSTILE, "num_processes": 0})
    job_id = job.json()["job_id"]
    for path in ("/", "/jobs", f"/jobs/{job_id}"):
        text = yard.client.get(path).text
        assert "<img src=x" not in text and "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "49" not in re.findall(r"&amp;(.*?)<", text)


def test_a_job_that_is_not_there_is_said_in_its_place(yard: Yard) -> None:
    text = yard.client.get("/jobs/nosuchjob").text
    assert "cannot be shown" in text and "no job" in text


def test_a_page_shows_nobody_more_than_the_api_does(yard: Yard) -> None:
    job = yard.ask("POST", "/api/queue/submit", {"command": ["sleep", "60"], "name": "owned by ann"}, by="ann").json()
    seen = yard.client.get("/jobs", headers={"Authorization": "Bearer ann"}).text
    hidden = yard.client.get("/jobs", headers={"Authorization": "Bearer bob"}).text
    assert job["job_id"] in seen and job["job_id"] not in hidden
    refused = yard.client.get(f"/jobs/{job['job_id']}", headers={"Authorization": "Bearer bob"}).text
    assert "cannot be shown" in refused and "owned by ann" not in refused


@pytest.mark.parametrize("name", assets.NAMES)
def test_an_asset_is_kept_for_ever_under_its_content(yard: Yard, name: str) -> None:
    answer = yard.client.get(assets.address(name))
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert answer.content == assets.read(name).body
    bare = yard.client.get(f"/assets/{name}")
    assert "immutable" not in bare.headers["cache-control"]
    again = yard.client.get(f"/assets/{name}", headers={"If-None-Match": bare.headers["etag"]})
    assert again.status_code == 304


def test_a_first_visit_is_light(yard: Yard) -> None:
    """150 kB gzipped is the bar; a page with all it loads stays far below."""
    page = yard.client.get("/", headers={"Accept-Encoding": "gzip"})
    sizes = [len(assets.read(name).packed) for name in assets.NAMES]
    assert sum(sizes) + int(page.headers["content-length"]) < 40_000


def test_the_table_finds_jobs_by_a_piece_of_their_name(yard: Yard) -> None:
    for name in ("SDXL lora 7", "flux 100%_done", "other"):
        yard.wait(yard.submit(name=name, num_processes=0)["job_id"])
    for wanted, found in (("lora", ["SDXL lora 7"]), ("0%_d", ["flux 100%_done"]), ("LORA", ["SDXL lora 7"])):
        jobs = yard.get("/api/jobs?search=" + wanted.replace("%", "%25"))["jobs"]
        assert [job["name"] for job in jobs] == found
    text = yard.client.get("/jobs?q=lora&status=completed").text
    assert "SDXL lora 7" in text and "flux" not in text
    assert 'href="/jobs?status=completed"' in text, "the search can be taken out alone"


def test_the_overview_says_what_is_paused(yard: Yard) -> None:
    assert "Paused" not in yard.ask("GET", "/").text
    yard.post("/api/queue/pause", {"targets": ["worker", "cloud"]})
    page = yard.ask("GET", "/").text
    assert "nothing starts at cloud, worker" in page and "/api/queue/resume" in page


def test_secrets_and_webhooks_stand_on_the_page_without_what_is_secret(yard: Yard) -> None:
    yard.ask("PUT", "/api/secrets/hf", {"value": "canary-of-the-page", "env": "HF_TOKEN"})
    made = yard.post("/api/webhooks", {"url": "https://example.com/hook?a=<b>"})
    drawn = yard.get("/ui?names=secrets")["secrets"]["html"]
    assert "HF_TOKEN" in drawn and "/api/secrets/hf" in drawn
    assert "https://example.com/hook?a=&lt;b&gt;" in drawn and f"/api/webhooks/{made['id']}" in drawn
    assert "canary-of-the-page" not in drawn and made["secret"] not in drawn
    assert "HF_TOKEN" not in yard.get("/ui?names=secrets", by="ann")["secrets"]["html"]
