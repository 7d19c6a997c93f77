"""What is Slurm's own, at a real one of one node with four pretended GPUs: what a job asks for, limits, forgetting."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gpuyard.actors.cloud.provider import NotConfigured, Provider, Refused, Retryable
from gpuyard.actors.cloud.slurm import Slurm
from gpuyard.actors.model.cloud_remote import ENDED, Order, Remote, RemoteState, RemoteStatus
from tests.clusters.fixtures import a_slurm
from tests.clusters.slurm import SlurmCluster
from tests.contract.cloud.slurm import FakeSlurmBench, RealSlurmBench

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def bench(tmp_path: Path, slurm_cluster: SlurmCluster) -> RealSlurmBench:
    return RealSlurmBench(tmp_path, slurm_cluster)


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[tuple[RealSlurmBench, SlurmCluster]]:
    """A cluster that forgets a job two seconds after its end."""
    with tempfile.TemporaryDirectory(prefix="sl") as folder, a_slurm(Path(folder), min_job_age=2) as cluster:
        yield RealSlurmBench(tmp_path, cluster), cluster


def tried(provider: Provider, trial: Callable[[Provider], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        try:
            return await trial(provider)
        finally:
            await provider.close()

    return asyncio.run(whole())


async def until(provider: Provider, remote: Remote, *states: RemoteState, seconds: float = 90.0) -> RemoteStatus:
    deadline = time.monotonic() + seconds
    while True:
        status = (await provider.status([remote.id]))[remote.id]
        if status.state in states:
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.1)


def shown(cluster: SlurmCluster, remote: Remote) -> dict[str, str]:
    """The fields of `scontrol show job`."""
    done = cluster.run("scontrol", "--oneliner", "show", "job", remote.id.partition(".")[0])
    assert done.returncode == 0, done.stderr
    pairs = (word.partition("=") for word in done.stdout.split())
    return {key: value for key, equals, value in pairs if equals}


def test_what_a_job_asks_for_reaches_slurm_and_its_environment_stands_in_no_record(
    bench: RealSlurmBench, slurm_cluster: SlurmCluster
) -> None:
    settings = {"conf": str(slurm_cluster.conf), "hardware": "a100", "account": "vision", "partition": "gpu"}
    options = {"cpus_per_task": 2, "account": "speech"}
    order = bench.order("sleep", "600", options=options, num_processes=2, time_limit=5400.0, env={"KEY": "s3cr3t"})

    async def trial(provider: Provider) -> None:
        remote = await provider.submit(order)
        job = shown(slurm_cluster, remote)
        comment = slurm_cluster.run("squeue", "--noheader", "--format=%k", f"--name={order.token}").stdout
        await provider.cancel(remote.id)
        assert job["TresPerNode"] == "gres:gpu:a100:2"
        assert (job["TimeLimit"], job["Partition"], job["CPUs/Task"]) == ("01:30:00", "gpu", "2")
        assert job["Account"] == "speech", "the job's own wish goes before the settings"
        assert job["JobName"] == order.token and job["Requeue"] == "0"
        assert comment.strip() == f"gpuyard job {order.spec.job_id} attempt 1" and "s3cr3t" not in str(job)

    tried(Slurm(settings, bench.folder), trial)


def test_gpus_are_given_once_and_who_waits_for_them_says_so(bench: RealSlurmBench) -> None:
    say = ("sh", "-c", 'echo "gpus $CUDA_VISIBLE_DEVICES"; exec sleep 600')

    async def trial(provider: Provider) -> None:
        first, second = [await provider.submit(bench.order(*say, num_processes=2)) for _ in range(2)]
        for remote in (first, second):
            await until(provider, remote, RemoteState.RUNNING)
        third = await provider.submit(bench.order(*say, num_processes=1))
        deadline = time.monotonic() + 60
        while (waiting := (await provider.status([third.id]))[third.id]).progress != "Slurm: Resources":
            assert waiting.state is RemoteState.QUEUED and time.monotonic() < deadline, waiting
            await asyncio.sleep(0.1)
        seen = ""
        while seen.count("gpus") < 2:
            logs = [await provider.logs(remote.id, 0) for remote in (first, second)]
            seen = b"".join(piece.data for piece in logs).decode()
        assert sorted(seen.replace("gpus", "").replace(",", " ").split()) == ["0", "1", "2", "3"]
        for remote in (first, second, third):
            await provider.cancel(remote.id)
        for remote in (first, second, third):
            await until(provider, remote, RemoteState.CANCELLED)

    tried(bench.make(), trial)


def test_a_log_that_never_came_says_what_to_set(bench: RealSlurmBench) -> None:
    async def trial(provider: Provider) -> None:
        assert "which the nodes must see" in (await provider.health()).detail
        hog = await provider.submit(bench.order("sleep", "600", num_processes=4))
        await until(provider, hog, RemoteState.RUNNING)
        order = bench.order("echo", "hello", num_processes=1)
        waiting = await provider.submit(order)
        # What a node would find that does not see our folder.
        shutil.rmtree(bench.folder / "slurm/runs" / order.token)
        await provider.cancel(hog.id)
        await until(provider, waiting, *ENDED)
        text = (await provider.logs(waiting.id, 0)).data.decode()
        assert text.count("set shared_dir in [providers.slurm]") == 1 and text.endswith("\n")
        await until(provider, hog, RemoteState.CANCELLED)
        assert b"shared_dir" not in (await provider.logs(hog.id, 0)).data

    tried(bench.make(), trial)


@pytest.mark.parametrize(
    ("options", "gpus"),
    [({}, 5), ({"hardware": "h100"}, 1), ({"partition": "nowhere"}, 1), ({"nodelist": "moon"}, 0)],
)
def test_what_the_cluster_does_not_have_is_refused_in_slurms_words(
    bench: RealSlurmBench, options: dict[str, Any], gpus: int
) -> None:
    order = bench.order("true", options=options, num_processes=gpus)
    with pytest.raises(Refused, match="sbatch"):
        tried(bench.make(), lambda provider: provider.submit(order))


def test_a_time_limit_that_slurm_enforces_is_a_timeout_and_a_forgotten_job_keeps_its_own_word(
    forgetful: tuple[RealSlurmBench, SlurmCluster],
) -> None:
    bench, cluster = forgetful

    async def trial(provider: Provider) -> None:
        long = await provider.submit(replace_limit(bench.long(), 60.0))
        await until(provider, long, RemoteState.RUNNING)
        job_id = long.id.partition(".")[0]
        # Slurm counts in whole minutes; the rest of this one need not be waited for.
        assert cluster.run("scontrol", "update", f"JobId={job_id}", "EndTime=now+2seconds").returncode == 0
        quick, failing = await provider.submit(bench.quick()), await provider.submit(bench.failing())
        assert (await until(provider, long, *ENDED)).exit_class == "timeout"
        while cluster.run("squeue", "--noheader", "--states=all").stdout.strip():
            await asyncio.sleep(0.2)
        found = await provider.status([quick.id, failing.id, long.id])
        assert (found[quick.id].state, found[quick.id].exit_code) == (RemoteState.COMPLETED, 0)
        assert (found[failing.id].state, found[failing.id].exit_class) == (RemoteState.FAILED, "exit:3")
        # Its script got the same signal: whether it can still say so before it is killed is chance.
        killed = found[long.id]
        assert killed.state is RemoteState.GONE or killed.exit_class == "signal:SIGTERM"

    tried(bench.make(), trial)


def replace_limit(order: Order, seconds: float) -> Order:
    return replace(order, spec=replace(order.spec, time_limit=seconds))


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "a b"},
        {"partition": "--wrap=x"},
        {"nodes": [1]},
        {"hardware": 7},
        {"mem": ""},
        {"account": "x\ny"},
    ],
)
def test_a_value_that_is_none_for_sbatch_never_reaches_it(tmp_path: Path, options: dict[str, Any]) -> None:
    bench = FakeSlurmBench(tmp_path)
    with pytest.raises(Refused, match="provider_options"):
        tried(bench.make(), lambda provider: provider.submit(bench.order("true", options=options)))


def test_settings_that_cannot_work_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match=r"\[providers.slurm\]"):
        Slurm({}, tmp_path)
    with pytest.raises(NotConfigured, match=r"login node.*bin_dir"):
        Slurm({"bin_dir": str(tmp_path)}, tmp_path)
    with pytest.raises(NotConfigured, match="partitions"):
        Slurm({"partitions": "gpu"}, tmp_path)


def test_a_controller_that_is_away_is_said_with_the_command_that_failed(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match=r"scontrol ping ended with 1.*Unable to contact"):
        tried(FakeSlurmBench(tmp_path).unreachable(), lambda provider: provider.health())


@pytest.mark.parametrize("content", [b"", b"soon", "²".encode(), b"-1", b"9" * 5000, b"\xff\xfe"])
def test_what_a_job_itself_writes_for_its_exit_code_breaks_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "exit").write_bytes(content)
    assert Slurm._code(tmp_path) is None
