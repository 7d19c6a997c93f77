"""The server as it answers over HTTP: is it there, ready, of our version, in our time; do its configs hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuyard.actors import procfs
from gpuyard.cli.doctor.finding import Finding, failure, note, ok, warning
from gpuyard.cli.exits import Failure
from gpuyard.cli.http import Client, Unreachable, segment
from gpuyard.cli.text import amount

MOST_CONFIGS = 50
CLOCKS_APART = 5.0
DULL = {"free", "held", "releasing", "excluded"}


def address(data_dir: Path) -> dict[str, Any]:
    """`{url, pid}` of the server that runs on this data folder, as far as it says so."""
    try:
        found = json.loads((data_dir / "server.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def server_pid(address: dict[str, Any]) -> int | None:
    """The pid in such an address, if that process still lives."""
    pid = address.get("pid")
    return pid if isinstance(pid, int) and procfs.start_time(pid) is not None else None


def server(client: Client) -> Iterator[Finding]:
    """It answers, is ready, and is of this version."""
    from gpuyard import __version__

    try:
        health = client.request("GET", "/healthz")
        client.request("GET", "/readyz", what="the server is not ready")
    except Unreachable as error:
        yield warning("server", f"{error.what}: {error.why}", error.do)
        return
    except Failure as error:
        yield failure("server", f"{error.what}: {error.why}", "look into server.log in the data folder")
        return
    theirs = health.get("version")
    if theirs and theirs != __version__:
        yield warning("server", f"{client.url} is version {theirs}, this command {__version__}", "update the older one")
    else:
        yield ok("server", f"{client.url} is ready")
    try:
        yield from _state(client)
        yield from _providers(client)
        yield from _configs(client)
    except Failure as error:
        yield warning("server", f"{error.what}: {error.why}", error.do or "give a token, or look into server.log")


def _state(client: Client) -> Iterator[Finding]:
    before = time.time()
    system = client.get("/api/system/status", query={"include_allocation": True}, what="its GPUs are not known")
    after = time.time()
    theirs = system.get("timestamp")
    if isinstance(theirs, (int, float)) and not before - CLOCKS_APART <= theirs <= after + CLOCKS_APART:
        yield warning("clock", f"the server's clock is {theirs - after:+.0f} s from this one", "set both by NTP")
    problem = (system.get("gpu_inventory") or {}).get("error")
    if problem:
        yield failure("gpus", f"the server cannot read the GPUs: {problem}", "look at nvidia-smi and dmesg")
    for gpu in (system.get("gpu_allocation") or {}).get("devices") or []:
        if gpu.get("state") not in DULL:
            text = f"GPU {gpu.get('index')} is {gpu.get('state')}: {gpu.get('reason')}"
            yield warning("gpus", text, "gpuyard gpus shows them all")
    stats = client.get("/api/queue/stats", what="the queue's state is not known")
    if stats.get("store_error"):
        yield failure(
            "database", str(stats["store_error"]), "look at the disk of the data folder (df) and at server.log"
        )
    if stats.get("processing_held") and stats.get("total_pending"):
        text = f"{amount(stats['total_pending'], 'job')} held since a run was cancelled"
        yield warning("queue", text, "gpuyard queue process")
    if stats.get("paused"):
        yield warning("queue", f"nothing starts at: {', '.join(map(str, stats['paused']))}", "gpuyard queue resume")


def _providers(client: Client) -> Iterator[Finding]:
    """Each cloud provider that takes jobs can be called, as far as is known; `cloud providers test` asks it."""
    for one in client.get("/api/cloud/providers", what="the cloud providers are not known")["providers"]:
        name = str(one["name"])
        if one["health"] == "down":
            yield warning("cloud", f"{name} is down: {one['why']}", f"gpuyard cloud providers test {name}")
        elif one["health"] == "ok":
            yield ok("cloud", f"{name} takes jobs, {one['running']} there")
        elif f"[providers.{name}]: " in one["why"] or f"[providers.{name}] has" in one["why"]:
            yield warning("cloud", f"{name} takes no jobs: {one['why']}", "gpuyard config show says where that stands")


def _configs(client: Client) -> Iterator[Finding]:
    """Each job config can be read."""
    found = client.get("/api/configs", what="the configs cannot be listed")["configs"]
    bad = 0
    for config in found[:MOST_CONFIGS]:
        name = str(config["name"])
        answer = client.post(f"/api/configs/{segment(name)}/validate", what=f"config {name} cannot be looked at")
        if not answer.get("valid"):
            bad += 1
            why = "; ".join(map(str, answer.get("errors") or ["it is not valid"]))
            yield warning("configs", f"{name}: {why}", f"correct {config.get('file', name)}")
    if not found:
        yield note("configs", "there are none", "put NAME.toml into the configs folder (gpuyard config show)")
    elif not bad:
        yield ok("configs", f"{amount(len(found), 'config')}, all valid")
