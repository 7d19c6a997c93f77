"""A busy yard to look at: people, teams, two real workers, a cloud, jobs of every state, and six hours of history.

Everything is real but the clock: what ran in the first seconds is moved back over the last hours, in the database,
while the server is down. For pictures and for looking at the page by hand: run it, and it prints where.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.server import Server
from tests.e2e.worker import QUICK, Worker, free_port
from tests.support import eventually

TRAIN: Final = Path(__file__).parent / "examples" / "train_tiny.py"
PEOPLE: Final = (
    ("ann", "admin", "vision"),
    ("bjarne.lindqvist", "lead", "vision"),
    ("chiamaka", "researcher", "speech"),
    ("dmitri-from-the-robotics-lab", "researcher", "robotics"),
    ("eve", "researcher", "vision"),
    ("guest-auditor", "viewer", None),
)
PAST: Final = ("sdxl-lora-5", "flux-dreambooth-2", "wav2vec-finetune", "vae-4x", "grasp-policy-v11", "eval-fid-30k")
ENDED: Final = "('completed', 'failed', 'cancelled')"
NOISE: Final = r"""
import sys, time
for n in range(10**6):
    print(f"\x1b[1mstep {n}/20000\x1b[0m loss \x1b[32m{2.4 / (1 + n / 900):.4f}\x1b[0m lr 1.0e-04 [1.31 it/s]")
    if n % 40 == 39: print(f"\x1b[33mwarning:\x1b[0m gradient norm {n % 7}.3 was clipped to 1.0")
    sys.stdout.flush(); time.sleep(0.15)
"""


class Showroom:
    """`start` fills it; `tokens` are by name. `close` ends everything, by pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = free_port()
        self.server = Server(folder / "server", "--zmq-bind", f"tcp://127.0.0.1:{port}", gpus="4:A100:80", **QUICK)
        self.workers: list[Worker] = []
        self.tokens: dict[str, str] = {}
        self.jobs: dict[str, str] = {}

    def start(self) -> Showroom:
        (self.server.configs / "sdxl-lora.toml").write_text(
            'command = ["accelerate", "launch", "train.py"]\nnum_processes = 2\n'
        )
        (self.server.configs / "flux-dreambooth.toml").write_text('command = ["python", "train.py"]\n')
        self.server.start()
        self._people()
        self._past()
        self._fleet()
        self._present()
        return self

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.server.close()

    def submit(self, who: str, name: str, *command: str, **more: Any) -> str:
        """The id of `who`'s new job."""
        body = {"command": list(command or ("sleep", "3000")), "name": name, **more}
        answer = self.server.post("/api/queue/submit", body, Authorization=f"Bearer {self.tokens[who]}")
        assert answer.status == 200 and answer.body["success"], answer.body
        self.jobs[name] = answer.body["job_id"]
        return self.jobs[name]

    def _people(self) -> None:
        teams: dict[str, str] = {}
        for name, level, team in PEOPLE:
            if team and team not in teams and self.tokens:
                teams[team] = self.server.post("/api/teams", {"name": team}).body["id"]
            made = self.server.post("/api/users", {"username": name, "level": level, "team_id": teams.get(team or "")})
            assert made.status == 200, made.body
            self.tokens[name] = made.body["token"]
            self.server.token = self.tokens["ann"]

    def _past(self) -> None:
        """Short runs, moved back over the last six hours; some failed."""
        self.server.limits(local_job_max_concurrent=8, local_cpu_job_max_concurrent=8, user_max_concurrent=6)
        chance = random.Random(7)
        ids = []
        names = [name for name, level, _ in PEOPLE if level != "viewer"]
        for number in range(26):
            title = f"{PAST[number % len(PAST)]}{'' if number < 6 else f'-r{number // 6}'}"
            command = ["true"]
            if number % 9 == 4:
                command = [sys.executable, "-c", "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory')"]
            ids.append(self.submit(chance.choice(names), title, *command, num_processes=chance.choice((1, 1, 2))))
        for job_id in ids:
            self.server.wait(job_id, timeout=120)
        self.server.stop()
        self._move_back(chance)
        self.server.start()

    def _move_back(self, chance: random.Random) -> None:
        database = sqlite3.connect(self.server.data / "jobs.db")
        free = [time.time() - 6 * 3600 + chance.random() * 900 for _ in range(4)]
        rows = database.execute(f"SELECT job_id FROM queue WHERE status IN {ENDED} ORDER BY id").fetchall()
        for (job_id,) in rows:
            fence, gpus = database.execute("SELECT fence, gpus FROM attempt WHERE job_id = ?", (job_id,)).fetchone()
            held = [one["index"] for one in json.loads(gpus)]
            lane = min(range(4), key=free.__getitem__)
            lanes = [lane] if len(held) == 1 else sorted(range(4), key=free.__getitem__)[:2]
            start = max(free[one] for one in lanes) + chance.random() * 400
            end = min(start + 600 + chance.random() * 3300, time.time() - 120)
            start = min(start, end - 60)
            for one in lanes:
                free[one] = end
            queued = start - chance.choice((0.4, 3, 8, 45, 200, 900, 2600)) * chance.random()
            uuids = {index: uuid for uuid, index in database.execute("SELECT DISTINCT uuid, gpu_index FROM gpu_hold")}
            given = [{"uuid": uuids.get(one, uuids[held[0]]), "index": one} for one in lanes]
            at, until, first = _iso(start), _iso(end), _iso(queued)
            database.execute(
                "UPDATE queue SET queued_at = ?, started_at = ?, completed_at = ? WHERE job_id = ?",
                (first, at, until, job_id),
            )
            database.execute(
                "UPDATE attempt SET assigned_at = ?, started_at = ?, ended_at = ?, gpus = ? WHERE fence = ?",
                (at, at, until, json.dumps(given), fence),
            )
            database.execute("DELETE FROM gpu_hold WHERE fence = ?", (fence,))
            for one in given:
                database.execute(
                    "INSERT INTO gpu_hold VALUES (?, ?, 'local', ?, ?, ?)",
                    (fence, one["uuid"], one["index"], at, until),
                )
            day = at[:10]
            database.execute(
                "UPDATE usage SET gpu_ms = gpu_ms + ?, run_ms = run_ms + ? WHERE day = ? AND user_id ="
                " (SELECT user_id FROM queue WHERE job_id = ?)",
                (int((end - start) * 1000 * len(given)), int((end - start) * 1000), day, job_id),
            )
        database.commit()
        database.close()

    def _fleet(self) -> None:
        for name, gpus, labels in (
            ("gpu-box-1", "4:H100:80", {"gpu_type": "h100-80gb", "site": "lab"}),
            ("render-node-in-the-basement", "2:RTX 4090:24", {"gpu_type": "rtx4090"}),
        ):
            made = self.server.post("/api/admin/workers", {"name": name, "labels": labels}).body
            self.workers.append(Worker(self.server, self.folder / name, name, made["token"], gpus).start())
        self.server.post("/api/admin/workers", {"name": "gpu-box-2", "labels": {"site": "attic"}})

    def _present(self) -> None:
        faults = {"3": {"foreign": [{"pid": 41702, "name": "jupyter-lab", "memory_gb": 12.4, "user": "eve"}]}}
        (self.server.data / "gpu_faults.json").write_text(json.dumps(faults))
        self.server.limits(local_job_max_concurrent=3, local_cpu_job_max_concurrent=4, max_concurrent=2)
        rule = {"name": "dear runs", "type": "cost_exceeds", "threshold": 50, "required_approver_level": "lead"}
        self.server.post("/api/approvals/rules", rule)
        python = sys.executable
        self.submit(
            "ann",
            "sdxl-lora-7",
            python,
            "-u",
            "-c",
            NOISE,
            num_processes=2,
            target="local",
            device_ids=[0, 1],
            metadata={"run_name": "sdxl-lora-7", "dataset": "laion-art-600k"},
            time_limit="12h",
        )
        self.submit("chiamaka", "wav2vec-large-swahili", num_processes=1, target="local")
        self.submit(
            "dmitri-from-the-robotics-lab",
            "grasp-policy-v12-with-tactile-and-a-rather-long-name-that-wraps",
            target="worker",
            num_processes=2,
            worker_labels={"gpu_type": "h100*"},
        )
        self.submit("eve", "upscaler-distill", target="worker", worker_labels={"gpu_type": "rtx*"})
        for who, name, gpus in (
            ("ann", "sdxl-lora-8", 2),
            ("bjarne.lindqvist", "vae-8x-ft", 4),
            ("eve", "fid-sweep", 1),
            ("chiamaka", "hubert-base", 1),
            ("ann", "text-encoder-probe", 1),
        ):
            self.submit(who, name, num_processes=gpus, target="local")
        for number in range(3):
            self.submit(
                "ann",
                f"flux-cloud-{number}",
                target="cloud",
                provider="simulated",
                estimated_cost=4.2,
                provider_options={"run_seconds": 3000, "hardware": "h100"},
            )
        self.submit("eve", "eight-hours-of-h100", estimated_cost=96.0, target="cloud", provider="simulated")
        self.submit("chiamaka", "tts-multispeaker", requires_approval=True)
        self.submit("ann", "overnight-ablation", num_processes=4, target="worker", worker_labels={"gpu_type": "b200*"})
        held = self.submit("ann", "paper-figures", num_processes=0)
        self.server.post(f"/api/jobs/{held}/cancel")
        broken = self.submit(
            "ann",
            "flux-dreambooth-3",
            python,
            "-c",
            "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory')",
            num_processes=0,
        )
        self.server.wait(broken, timeout=60)
        eventually(lambda: self.server.job(self.jobs["sdxl-lora-7"])["phase"] == "running", timeout=60)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gpuyard-showroom-") as place:
        room = Showroom(Path(place))
        try:
            room.start()
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            print(json.dumps({"url": room.server.url, "tokens": room.tokens, "jobs": room.jobs}), flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass  # that is how one leaves
        finally:
            room.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
