"""What holds for every provider, over its fake and over the real thing; one sentence a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from gpuyard.actors.cloud.provider import Provider, Refused, Retryable
from gpuyard.actors.model.cloud_remote import ENDED, Order, Remote, RemoteState, RemoteStatus, token_of
from tests.contract.cloud.benches import Bench

# A cluster's start counts into the first test that needs it.
pytestmark = pytest.mark.timeout(400)

Trial = Callable[[Provider, Bench], Coroutine[Any, Any, None]]


def tried(bench: Bench, trial: Trial) -> None:
    """Run `trial` with a fresh provider, and close it."""

    async def whole() -> None:
        provider = bench.make()
        try:
            await trial(provider, bench)
        finally:
            await provider.close()

    asyncio.run(whole())


async def until(bench: Bench, look: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of `look`."""
    deadline = time.monotonic() + bench.patience
    while not (found := await look()):
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.05)
    return found


async def status_of(provider: Provider, remote: Remote) -> RemoteStatus | None:
    return (await provider.status([remote.id])).get(remote.id)


async def ended(provider: Provider, bench: Bench, remote: Remote) -> RemoteStatus:
    async def look() -> RemoteStatus | None:
        status = await status_of(provider, remote)
        assert status is None or status.state is not RemoteState.GONE
        return status if status is not None and status.state in ENDED else None

    found: RemoteStatus = await until(bench, look)
    return found


async def running(provider: Provider, bench: Bench, order: Order) -> Remote:
    """A remote job whose program lives."""
    remote = await provider.submit(order)

    async def look() -> bool:
        status = await status_of(provider, remote)
        return status is not None and status.state is RemoteState.RUNNING

    await until(bench, look)
    return remote


async def whole_log(provider: Provider, remote: Remote) -> bytes:
    data = b""
    while piece := await provider.logs(remote.id, len(data)):
        data += piece.data
        if not piece.more:
            return data
    return data


def test_it_answers_and_says_what_it_can_do(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        assert isinstance(provider, Provider)
        assert (await provider.health()).detail
        able = provider.capabilities
        assert able == provider.capabilities and able.call_seconds > 0 and able.poll_seconds > 0
        assert able.batch >= 1 and able.calls_at_once >= 1

    tried(bench, trial)


def test_a_job_goes_well_with_its_log_and_its_times(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        before = time.time()
        remote = await provider.submit(bench.quick())
        status = await ended(provider, bench, remote)
        assert status.state is RemoteState.COMPLETED, status
        assert status.exit_code in (0, None)
        for at in (status.started_at, status.ended_at):
            assert at is None or before - 5 < at < time.time() + 5
        assert b"hello" in await whole_log(provider, remote)

    tried(bench, trial)


def test_a_log_is_read_on_from_any_offset(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        remote = await provider.submit(bench.quick())
        await ended(provider, bench, remote)
        whole = await whole_log(provider, remote)
        assert (await provider.logs(remote.id, 3)).data == whole[3:]
        assert (await provider.logs(remote.id, len(whole))).data == b""

    tried(bench, trial)


def test_a_job_that_fails_says_how(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        remote = await provider.submit(bench.failing())
        status = await ended(provider, bench, remote)
        assert status.state is RemoteState.FAILED, status
        assert status.exit_code == bench.code_of_failure
        if bench.code_of_failure is not None:
            assert status.exit_class == f"exit:{bench.code_of_failure}"

    tried(bench, trial)


def test_a_running_job_is_ended_by_cancel_and_a_second_cancel_is_harmless(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        remote = await running(provider, bench, bench.long())
        await provider.cancel(remote.id)
        status = await ended(provider, bench, remote)
        assert status.state is RemoteState.CANCELLED, status
        await provider.cancel(remote.id)

    tried(bench, trial)


def test_a_job_is_found_by_its_order_alive_and_ended_and_no_other_is(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        live, done, never = bench.long(), bench.quick(), bench.order("never", "submitted")
        first = await running(provider, bench, live)
        second = await provider.submit(done)
        await ended(provider, bench, second)
        found = await provider.find([live, done, never])
        assert {token: [r.id for r in remotes] for token, remotes in found.items()} == {
            live.token: [first.id],
            done.token: [second.id],
        }
        await provider.cancel(first.id)

    tried(bench, trial)


def test_a_second_provider_object_knows_what_the_first_began(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        order = bench.quick()
        remote = await provider.submit(order)
        other = bench.make()
        try:
            assert [r.id for r in (await other.find([order]))[order.token]] == [remote.id]
            assert (await ended(other, bench, remote)).state is RemoteState.COMPLETED
            assert b"hello" in await whole_log(other, remote)
        finally:
            await other.close()

    tried(bench, trial)


def test_a_second_submit_of_a_token_makes_no_second_job_where_that_is_promised(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        order = bench.long()
        first, second = await provider.submit(order), await provider.submit(order)
        found = (await provider.find([order]))[order.token]
        if provider.capabilities.idempotent:
            assert first.id == second.id and len(found) == 1
        else:
            assert [r.id for r in found] == [first.id, second.id], "the oldest first"
        for remote in {first.id, second.id}:
            await provider.cancel(remote)

    tried(bench, trial)


def test_all_live_jobs_of_ours_are_listed_where_that_is_promised(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        if not provider.capabilities.listing:
            pytest.skip("it does not list by token")
        live, done = bench.long(), bench.quick()
        first = await running(provider, bench, live)
        second = await provider.submit(done)
        await ended(provider, bench, second)
        found = dict(await provider.sweep(bench.owner))
        assert found[live.token].id == first.id and done.token not in found
        assert await provider.sweep(token_of("ffffffff", 1).rpartition("-")[0]) == []
        await provider.cancel(first.id)

    tried(bench, trial)


def test_many_are_looked_at_at_once_and_an_unknown_one_is_gone(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        remotes = [await provider.submit(bench.quick()) for _ in range(3)]
        for remote in remotes:
            await ended(provider, bench, remote)
        unknown = remotes[0].id.replace(remotes[0].id[:4], "9876", 1)
        found = await provider.status([*(remote.id for remote in remotes), unknown])
        assert {found[remote.id].state for remote in remotes} == {RemoteState.COMPLETED}
        assert found[unknown].state is RemoteState.GONE

    tried(bench, trial)


def test_what_it_will_never_take_is_refused_and_leaves_nothing(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        order = bench.refused()
        with pytest.raises(Refused) as caught:
            await provider.submit(order)
        assert str(caught.value)
        assert not (await provider.find([order])).get(order.token)

    tried(bench, trial)


def test_where_nobody_answers_every_call_may_be_made_again(bench: Bench) -> None:
    async def whole() -> None:
        provider = bench.unreachable()
        order = bench.quick()
        try:
            for call in (
                provider.health(),
                provider.submit(order),
                provider.find([order]),
                provider.status(["1234567"]),
                provider.cancel("1234567"),
            ):
                with pytest.raises(Retryable):
                    await call
        finally:
            await provider.close()

    asyncio.run(whole())


def test_environment_and_files_reach_the_program_unread_by_any_shell(bench: Bench) -> None:
    nasty = "a 'b' \"c\" $HOME `id` \\ é\nsecond line"

    async def trial(provider: Provider, bench: Bench) -> None:
        if not bench.runs_commands:
            pytest.skip("it runs no commands")
        order = bench.order(
            "sh", "-c", 'printf "%s|" "$WORD" "$1" "$GPUYARD_JOB_ID"; cat config.toml', "sh", nasty,
            env={"WORD": nasty}, files={"config.toml": nasty},
        )  # fmt: skip
        remote = await provider.submit(order)
        assert (await ended(provider, bench, remote)).state is RemoteState.COMPLETED
        text = (await whole_log(provider, remote)).decode()
        assert f"{nasty}|{nasty}|{order.spec.job_id}|{nasty}" in text

    tried(bench, trial)


def test_files_are_brought_there_once_and_reach_the_program(bench: Bench) -> None:
    contents = {"data/träin set.csv": b"1,2,3\n" * 1000, "tool.sh": b"#!/bin/sh\necho tool runs\n"}

    async def trial(provider: Provider, bench: Bench) -> None:
        assert provider.capabilities.uploads
        order = bench.with_files(contents)
        said: list[str] = []
        uploads = dict(await provider.upload(order, said.append))
        remote = await provider.submit(replace(order, uploads=uploads))
        status = await ended(provider, bench, remote)
        assert status.state is RemoteState.COMPLETED, (status, await whole_log(provider, remote))
        if bench.runs_commands:
            log = await whole_log(provider, remote)
            assert b"6000" in log and b"tool runs" in log
        again: list[str] = []
        assert dict(await provider.upload(order, again.append)) == uploads
        assert not again or bench.uploads_each_time, "what is there is not sent again"

    tried(bench, trial)


def test_a_file_that_is_gone_from_here_is_refused(bench: Bench) -> None:
    async def trial(provider: Provider, bench: Bench) -> None:
        if bench.uploads_each_time:
            pytest.skip("it looks at no file")
        order = bench.with_files({"lost": b"x"})
        for path in (bench.folder / "blobs").iterdir():
            path.unlink()
        with pytest.raises(Refused, match="lost"):
            await provider.upload(order, lambda words: None)

    tried(bench, trial)
