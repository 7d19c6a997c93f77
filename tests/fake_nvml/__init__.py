"""A fake NVIDIA driver library for tests: `build` compiles it, `Script` says which GPUs it shows and what befalls them.

The real `pynvml` runs on top of it. A process that is started with `Script.env()` sees these GPUs:

    script = Script(tmp_path / "gpus.txt", library)        # the fixture `fake_nvml_library` gives the library
    gpu = script.add_gpu(memory_gb=80)
    script.add_process(gpu, pid=4242, memory_gb=12)        # every change is there at the next call
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
NAME = "libnvidia-ml.so.1"
GIB = 1024**3
# What the driver answers; the numbers are NVML's own.
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, FUNCTION_NOT_FOUND, GPU_IS_LOST, UNKNOWN = 3, 4, 9, 13, 15, 999


def compiler() -> str | None:
    """The C compiler of this machine, if there is one."""
    return shutil.which("gcc") or shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile the library into `folder` and return its path. Raises RuntimeError without a compiler."""
    cc = compiler()
    if cc is None:
        raise RuntimeError("no C compiler (gcc or cc): the fake NVIDIA library cannot be built")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / NAME
    flags = ["-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-pthread", f"-Wl,-soname,{NAME}"]
    subprocess.run([cc, *flags, "-o", str(library), str(SOURCE)], check=True, capture_output=True, text=True)
    return library


@dataclass
class FakeGpu:
    """A GPU of the script, or a MIG device (`instance` set). None stands for "this card does not tell"."""

    uuid: str
    name: str = "NVIDIA H200"
    bus: int = 1
    total: int = 80 * GIB
    used: int = 0
    utilization: int | None = 0
    temperature: int | None = 33
    power_mw: int | None = 71_500
    ecc: int | None = 0
    mig: bool | None = None
    instance: int | None = None
    lost: bool = False
    processes: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    xids: list[str] = field(default_factory=list)
    parts: list[FakeGpu] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As the library reads them."""
        head = f"gpu {self.uuid}" if self.instance is None else f"device {self.uuid} {self.instance}"
        lines = [head, f"name {self.name}", f"bus 0 {self.bus} 0", f"memory {self.total} {self.used}"]
        told = {
            "utilization": self.utilization,
            "temperature": self.temperature,
            "power": self.power_mw,
            "ecc": self.ecc,
        }
        lines += [f"{word} {value}" for word, value in told.items() if value is not None]
        lines += [f"mig {int(self.mig)}"] if self.mig is not None else []
        lines += ["lost"] if self.lost else []
        for pid, (kind, used) in self.processes.items():
            lines.append(f"{kind} {pid} {-1 if used is None else used}")
        return [*lines, *self.rules, *self.xids, *(line for part in self.parts for line in part.lines())]


class Script:
    """The text file that the library reads at each call; every method here rewrites it in one step."""

    def __init__(self, path: Path, library: Path) -> None:
        self.path = path
        self.library = library
        self.gpus: list[FakeGpu] = []
        self._rules: list[str] = []
        self._xids = 0
        self._hangs = path.with_name(f"{path.name}.hangs")
        self.write()

    def env(self, base: dict[str, str] | None = None) -> dict[str, str]:
        """The environment of a process that shall see these GPUs."""
        env = dict(os.environ if base is None else base)
        folders = [str(self.library.parent), env.get("LD_LIBRARY_PATH", "")]
        return {**env, "LD_LIBRARY_PATH": ":".join(filter(None, folders)), "FAKE_NVML_SCRIPT": str(self.path)}

    def write(self) -> None:
        lines = [*self._rules, *(line for gpu in self.gpus for line in gpu.lines())]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self.path)

    # --- GPUs ---

    def add_gpu(self, uuid: str | None = None, *, name: str = "NVIDIA H200", memory_gb: float = 80) -> FakeGpu:
        """One more GPU, on the next PCI bus; a library that is open sees it only when opened anew."""
        number = len(self.gpus)
        gpu = FakeGpu(uuid or f"GPU-0000000{number}", name=name, bus=number + 1, total=int(memory_gb * GIB))
        self.gpus.append(gpu)
        self.write()
        return gpu

    def remove_gpu(self, gpu: FakeGpu) -> None:
        """The card falls off the bus: an open library calls it lost, one opened later does not count it."""
        self.gpus.remove(gpu)
        self.write()

    def insert_gpu(self, gpu: FakeGpu, at: int | None = None) -> None:
        """A removed card comes back."""
        self.gpus.insert(len(self.gpus) if at is None else at, gpu)
        self.write()

    def change(self, gpu: FakeGpu, **fields: object) -> None:
        """Set fields of a GPU: `script.change(gpu, utilization=97, ecc=1)`."""
        for field_name, value in fields.items():
            assert hasattr(gpu, field_name), field_name
            setattr(gpu, field_name, value)
        self.write()

    def lose(self, gpu: FakeGpu) -> None:
        """Every call for this GPU answers "GPU is lost"."""
        self.change(gpu, lost=True)

    def find(self, gpu: FakeGpu) -> None:
        """The lost GPU answers again."""
        self.change(gpu, lost=False)

    def enable_mig(self, gpu: FakeGpu, *memories_gb: float) -> list[FakeGpu]:
        """Turn MIG on with one MIG device for each of these sizes."""
        gpu.mig = True
        gpu.parts = [
            FakeGpu(
                f"MIG-{gpu.uuid[4:]}-{n}",
                name=f"{gpu.name} MIG {n + 1}g",
                total=int(size * GIB),
                utilization=None,
                temperature=None,
                power_mw=None,
                ecc=None,
                instance=n + 1,
            )
            for n, size in enumerate(memories_gb)
        ]
        self.write()
        return gpu.parts

    # --- what happens on them ---

    def add_process(self, gpu: FakeGpu, pid: int, memory_gb: float | None = 1.0, kind: str = "compute") -> None:
        """A process uses the GPU, and its memory (None: uses some that the driver does not attribute)."""
        size = None if memory_gb is None else int(memory_gb * GIB)
        gpu.processes[pid] = (kind, size)
        gpu.used += size or 0
        self.write()

    def remove_process(self, gpu: FakeGpu, pid: int, *, leak_gb: float = 0.0) -> None:
        """The process is gone; `leak_gb` of its memory is not."""
        _, size = gpu.processes.pop(pid)
        gpu.used -= (size or 0) - int(leak_gb * GIB)
        self.write()

    def set_used(self, gpu: FakeGpu, memory_gb: float) -> None:
        """Memory in use, whoever uses it."""
        self.change(gpu, used=int(memory_gb * GIB))

    def xid(self, gpu: FakeGpu, number: int) -> None:
        """The driver reports this Xid once."""
        self._xids += 1
        gpu.xids.append(f"xid {number} {self._xids}")
        self.write()

    # --- a driver that fails ---

    def fail(self, function: str, code: int = UNKNOWN, gpu: FakeGpu | None = None) -> None:
        """Calls of this function answer `code`, for one GPU or all."""
        self._rule(f"fail {function} {code}", gpu)

    def hang(self, function: str, gpu: FakeGpu | None = None) -> None:
        """Calls of this function do not return until `heal`; `is_hanging` once one does not."""
        self._hangs.unlink(missing_ok=True)
        self._rule(f"hang {function}", gpu)

    def is_hanging(self) -> bool:
        return self._hangs.exists()

    def crash(self, function: str, gpu: FakeGpu | None = None) -> None:
        """Calls of this function abort the process."""
        self._rule(f"crash {function}", gpu)

    def say(self, function: str) -> None:
        """Calls of this function print a line to standard output."""
        self._rule(f"say {function}", None)

    def heal(self) -> None:
        """No call fails, hangs or crashes any more."""
        self._rules.clear()
        for gpu in self.gpus:
            gpu.rules.clear()
        self.write()

    def _rule(self, line: str, gpu: FakeGpu | None) -> None:
        (self._rules if gpu is None else gpu.rules).append(line)
        self.write()
