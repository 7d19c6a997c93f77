"""What is Replicate's own: throttling, broken answers, finding by looks, files, signed webhooks, its credential."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from gpuyard.actors.cloud.provider import Forged, NotConfigured, Refused, Retryable
from gpuyard.actors.cloud.replicate import Replicate
from gpuyard.actors.cloud.webhooks import check, sign
from gpuyard.actors.model.cloud_remote import RemoteState
from tests import leaks
from tests.clusters.asgi import Served
from tests.clusters.fake_replicate import FakeReplicate
from tests.contract.cloud.replicate import ReplicateBench

SECRET = "whsec_" + base64.b64encode(b"a key of twenty-four byt").decode()


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def fake() -> FakeReplicate:
    return FakeReplicate()


@pytest.fixture
def bench(fake: FakeReplicate, tmp_path: Path) -> Iterator[ReplicateBench]:
    served = Served(fake.app)
    yield ReplicateBench(tmp_path, served.url)
    served.close()


def tried(bench: ReplicateBench, trial: Callable[[Replicate], Awaitable[Any]], **settings: Any) -> Any:
    async def whole() -> Any:
        provider = bench.at(bench.url, **settings)
        try:
            return await trial(provider)
        finally:
            await provider.close()

    return asyncio.run(whole())


def trouble(bench: ReplicateBench, **settings: Any) -> Retryable:
    """What a submit raises now."""
    with pytest.raises(Retryable) as caught:
        tried(bench, lambda provider: provider.submit(bench.quick()), **settings)
    return caught.value


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)])
def test_a_429_says_when_to_come_again(bench: ReplicateBench, fake: FakeReplicate, header: str, seconds: float) -> None:
    fake.script.update(busy=1.0, retry_after=header)
    error = trouble(bench)
    assert error.busy and error.retry_after == seconds and not error.unsure


def test_an_answer_of_500_may_have_had_its_effect_and_the_job_is_found(
    bench: ReplicateBench, fake: FakeReplicate
) -> None:
    fake.script.update(half=1.0)
    order = bench.quick()
    with pytest.raises(Retryable) as caught:
        tried(bench, lambda provider: provider.submit(order))
    assert caught.value.unsure
    found = tried(bench, lambda provider: provider.find([order]))
    assert [remote.id for remote in found[order.token]] == [f"predictions/{job}" for job in fake.jobs["predictions"]]


def test_an_answer_that_never_comes_is_unsure(bench: ReplicateBench, fake: FakeReplicate) -> None:
    fake.script.update(latency=(30.0, 30.0))
    error = trouble(bench, call_seconds=0.2)
    assert error.unsure and "did not answer" in str(error)
    assert len(fake.jobs["predictions"]) == 1, "it had its effect"


def test_a_refused_credential_is_no_jobs_fault_and_stands_in_no_message(
    bench: ReplicateBench, fake: FakeReplicate
) -> None:
    fake.token = "another"
    error = trouble(bench)
    assert error.down and "401" in str(error) and "r8_test" not in str(error)


def test_while_it_is_away_with_a_page_of_its_proxy_it_may_be_asked_again(
    bench: ReplicateBench, fake: FakeReplicate
) -> None:
    fake.script.update(down=True)
    error = trouble(bench)
    assert not error.unsure and not error.down


def test_a_look_at_many_tells_of_those_that_could_be_looked_at(bench: ReplicateBench, fake: FakeReplicate) -> None:
    async def trial(provider: Replicate) -> None:
        remotes = [await provider.submit(bench.quick()) for _ in range(10)]
        fake.script.update(broken=0.5)
        seen: set[str] = set()
        for _ in range(60):
            try:
                seen |= set(await provider.status([remote.id for remote in remotes]))
            except Retryable:
                continue
        assert seen == {remote.id for remote in remotes}

    tried(bench, trial)


def test_the_error_of_a_failed_job_and_its_progress_are_told(bench: ReplicateBench) -> None:
    async def trial(provider: Replicate) -> None:
        failed = await provider.submit(bench.asking(error="CUDA out of memory", seconds=0.05))
        long = await provider.submit(bench.asking(seconds=1.0))
        words = set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            seen = await provider.status([failed.id, long.id])
            words.add(seen[long.id].progress)
            if seen[long.id].state is RemoteState.COMPLETED:
                break
        assert seen[failed.id].message == "CUDA out of memory"
        assert any(word.endswith(" %") for word in words), words

    tried(bench, trial)


def test_more_than_a_page_of_newer_jobs_is_looked_through(bench: ReplicateBench, fake: FakeReplicate) -> None:
    async def trial(provider: Replicate) -> None:
        order = bench.quick()
        remote = await provider.submit(order)
        for _ in range(250):
            await provider.submit(bench.quick())
        found = await provider.find([order])
        assert [r.id for r in found[order.token]] == [remote.id]

    tried(bench, trial)


def test_the_token_goes_to_no_other_host_whatever_an_answer_says(bench: ReplicateBench, fake: FakeReplicate) -> None:
    asked: list[str] = []

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    other = Served(elsewhere)
    fake.page_url = f"{other.url}/v1/predictions"

    async def trial(provider: Replicate) -> None:
        for _ in range(101):
            await provider.submit(bench.quick())
        assert not await provider.find([bench.quick()])

    try:
        tried(bench, trial)
    finally:
        other.close()
    assert asked == []


def test_jobs_older_than_the_order_are_not_it(bench: ReplicateBench) -> None:
    async def trial(provider: Replicate) -> None:
        order = bench.quick()
        await provider.submit(order)
        later = msgspec.structs.replace(order, asked_at=time.time() + 3600)
        assert not await provider.find([later])

    tried(bench, trial)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "no slash"},
        {"model": "../../v1/account"},
        {"model": "a/b", "version": "latest"},
        {"model": "a/b", "destination": "me/mine"},
        {"model": "a/b", "input": [1]},
        {"model": "a/b", "input": {"data": "file:there-is-no-such"}},
        {"model": 7},
        {},
    ],
)
def test_options_that_make_no_request_are_refused_here(bench: ReplicateBench, options: dict[str, Any]) -> None:
    order = msgspec.structs.replace(bench.quick(), options=options)
    with pytest.raises(Refused):
        tried(bench, lambda provider: provider.submit(order))


def test_a_config_or_a_command_goes_into_the_input_by_the_name_that_the_model_wants(
    bench: ReplicateBench, fake: FakeReplicate
) -> None:
    options = {"model": "test/model", "version": "a" * 64}

    async def trial(provider: Replicate) -> None:
        await provider.submit(bench.order("train", options=options, files={"config.toml": "lr = 1"}))
        await provider.submit(bench.order("python", "train.py", options=options))

    tried(bench, trial, config_input="config_toml", command_input="argv")
    inputs = [job["input"] for job in fake.jobs["predictions"].values()]
    assert inputs == [{"config_toml": "lr = 1"}, {"argv": '["python","train.py"]'}]


def test_a_file_is_uploaded_once_and_named_by_its_address(bench: ReplicateBench, fake: FakeReplicate) -> None:
    order = bench.with_files({"data.zip": b"PK" * 1000})

    async def trial(provider: Replicate) -> None:
        await provider.upload(order, lambda words: None)
        await provider.submit(order)

    tried(bench, trial)
    tried(bench, trial)
    [file] = fake.files.values()
    assert file["size"] == 2000 and file["name"] == "data.zip"
    assert {job["input"]["file_0"] for job in fake.jobs["predictions"].values()} == {file["urls"]["get"]}
    fake.files.clear()  # it expires there after a day
    tried(bench, trial)
    assert len(fake.files) == 1


class TestWebhooks:
    def test_what_replicate_signs_is_believed_and_names_its_job(
        self, bench: ReplicateBench, fake: FakeReplicate
    ) -> None:
        async def trial(provider: Replicate) -> str:
            remote = await provider.submit(bench.quick())
            [job] = fake.jobs["predictions"].values()
            body = httpx2.Response(200, json=fake._shown(job)).content
            stamp = int(time.time())
            headers = {
                "webhook-id": "msg_1",
                "webhook-timestamp": str(stamp),
                "webhook-signature": "v1,d3Jvbmc= " + sign(fake.key, "msg_1", stamp, body),
            }
            assert await provider.webhook(headers, body) == remote.id
            with pytest.raises(Forged):
                await provider.webhook(headers, body + b" ")
            return remote.id

        assert tried(bench, trial).startswith("predictions/")

    @pytest.mark.parametrize(
        "change",
        [
            {"webhook-signature": "v1,AAAA"},
            {"webhook-signature": ""},
            {"webhook-signature": "v2,{right}"},
            {"webhook-timestamp": "1"},
            {"webhook-timestamp": "now"},
            {"webhook-id": ""},
            {"webhook-id": "msg_2"},
        ],
    )
    def test_anything_else_is_forged(self, change: dict[str, str]) -> None:
        now = 1_700_000_000
        right = sign(SECRET, "msg_1", now, b"{}")
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": right}
        check(SECRET, headers, b"{}", now + 299)
        with pytest.raises(Forged):
            check(SECRET, {**headers, **{k: v.format(right=right[3:]) for k, v in change.items()}}, b"{}", now)
        with pytest.raises(Forged):
            check(SECRET, headers, b"{}", now + 301)

    def test_the_documented_example_has_the_documented_signature(self) -> None:
        # The example of the Standard Webhooks specification.
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        body = b'{"test": 2432232314}'
        assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        )


@pytest.mark.parametrize(
    ("mode", "text", "word"), [(0o644, "r8_x", "chmod 600"), (0o600, "", "nothing else"), (0o600, "two words", "else")]
)
def test_a_token_file_that_others_can_read_or_that_holds_no_token_is_refused(
    tmp_path: Path, mode: int, text: str, word: str
) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(NotConfigured, match=word):
        Replicate({"token_file": str(path)}, tmp_path)


def test_a_misspelt_setting_and_an_odd_address_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_x")
    with pytest.raises(NotConfigured, match="modell"):
        Replicate({"modell": "a/b"}, tmp_path)
    with pytest.raises(NotConfigured, match="base_url"):
        Replicate({"base_url": "file:///etc/passwd"}, tmp_path)
