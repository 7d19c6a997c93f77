"""A real single-node Slurm: munged, slurmctld and slurmd of Debian's packages, started by a test and ended by pid.

All configuration and state lies in one folder, the daemons have ports of their own, and four fake GPUs (character
devices that everybody has) stand in for real ones. Nothing outside the folder is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.machine import end_all_of, free_port
from tests.support import eventually

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
GPUS = 4


def missing() -> list[str]:
    """The programs that a test needs and that are not installed."""
    return [name for name in PROGRAMS if _which(name) is None]


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class SlurmCluster:
    """`start` it, use `conf` as SLURM_CONF, `close` it. `partition` is `gpu`; GPUs are of type a100."""

    def __init__(self, folder: Path, *, min_job_age: int = 300) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.min_job_age = min_job_age
        self._ports = (free_port(), free_port())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> SlurmCluster:
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        self._start_munge()
        self.start_controller()
        self._launch("slurmd", "-D", "-N", self.node, "-f", str(self.conf))
        eventually(self._idle, timeout=90, message="the node did not become idle")
        return self

    @property
    def node(self) -> str:
        return socket.gethostname().partition(".")[0]

    def start_controller(self) -> None:
        self._launch("slurmctld", "-D", "-f", str(self.conf))
        eventually(self._answers, timeout=60, message="slurmctld does not answer")

    def stop_controller(self) -> None:
        """An orderly end of slurmctld. (Killed, it may forget the last seconds, and run a job twice by itself.)"""
        self._end("slurmctld", signal.SIGTERM)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = _which(command[0])
        assert program is not None
        return subprocess.run(
            [program, *command[1:]], env=self.environ(), capture_output=True, text=True, timeout=60, check=False
        )

    def environ(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def close(self) -> None:
        """Cancel what runs, end the daemons and whatever they left, by pid."""
        if "slurmctld" in self._processes:
            self.run("scancel", "--me", "--full", "--signal=KILL")
            self.run("scancel", "--me")
        for name in list(self._processes):
            self._end(name, signal.SIGTERM)
        end_all_of(self.folder)

    # --- inside ---

    def _configure(self) -> None:
        control, daemon = self._ports
        devices = f"/dev/tty[0-{GPUS - 1}]"
        user = "root" if os.getuid() == 0 else os.environ.get("USER", "root")
        self.conf.write_text(
            f"""ClusterName=gpuyardtest
SlurmctldHost={self.node}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={self.folder / "munge.socket"}
CredType=cred/munge
SlurmctldPort={control}
SlurmdPort={daemon}
StateSaveLocation={self.folder / "state"}
SlurmdSpoolDir={self.folder / "spool"}
SlurmctldPidFile={self.folder / "slurmctld.pid"}
SlurmdPidFile={self.folder / "slurmd.pid"}
SlurmctldLogFile={self.folder / "log/slurmctld"}
SlurmdLogFile={self.folder / "log/slurmd"}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
GresTypes=gpu
MinJobAge={self.min_job_age}
KillWait=5
InactiveLimit=0
SchedulerParameters=sched_interval=1,sched_min_interval=1000
NodeName={self.node} NodeAddr=127.0.0.1 Port={daemon} CPUs={os.cpu_count()} Gres=gpu:a100:{GPUS} State=UNKNOWN
PartitionName=gpu Nodes={self.node} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""
        )
        self.folder.joinpath("gres.conf").write_text(f"Name=gpu Type=a100 File={devices} Flags=nvidia_gpu_env\n")

    def _start_munge(self) -> None:
        self._launch(
            "munged",
            "--foreground",
            "--force",
            f"--socket={self.folder / 'munge.socket'}",
            f"--key-file={self.folder / 'munge.key'}",
            f"--pid-file={self.folder / 'munge.pid'}",
            f"--log-file={self.folder / 'log/munged'}",
            f"--seed-file={self.folder / 'munge.seed'}",
            "--num-threads=2",
        )
        eventually((self.folder / "munge.socket").exists, timeout=30, message="munged did not start")

    def _launch(self, name: str, *arguments: str) -> None:
        program = _which(name)
        assert program is not None
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                [program, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environ()
            )

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)

    def _answers(self) -> bool:
        process = self._processes["slurmctld"]
        assert process.poll() is None or self._died("slurmctld")
        return " UP" in self.run("scontrol", "ping").stdout.upper()

    def _idle(self) -> bool:
        process = self._processes["slurmd"]
        assert process.poll() is None or self._died("slurmd")
        return self.run("sinfo", "--noheader", "--format=%T").stdout.strip() in ("idle", "mixed", "allocated")

    def _died(self, name: str) -> bool:
        said = [path.read_text(errors="replace")[-2000:] for path in sorted((self.folder / "log").iterdir())]
        raise RuntimeError(f"{name} ended by itself:\n" + "\n".join(said))
