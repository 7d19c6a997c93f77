"""The command of a job under fire: `program.py MARKS SECONDS CODE`. It writes down that it lives, and exits with CODE.

Two locks tell what must never happen: a second live run of the same job, and a second run on the same GPU. The kernel
gives them back however a run ends. Standard library only: it is started many times.
"""

import fcntl
import json
import os
import sys
import time


def _take(marks: str, name: str, rival: str) -> None:
    """Hold the lock `name` until the end of this process; write down when somebody else has it."""
    held = os.open(f"{marks}/{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _append(f"{marks}/clashes", {"what": name, "by": rival})


def _append(path: str, record: dict[str, object]) -> None:
    """One line, in one write: it is there whole or not at all."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, json.dumps(record).encode() + b"\n")
    os.close(fd)


def main(marks: str, seconds: float, code: int) -> int:
    job, fence = os.environ["GPUYARD_JOB_ID"], int(os.environ["GPUYARD_FENCE"])
    who = f"{job}/{fence}"
    _take(marks, f"job-{job}", who)
    for gpu in filter(None, os.environ["CUDA_VISIBLE_DEVICES"].split(",")):
        _take(marks, f"gpu-{gpu}", who)
    _append(f"{marks}/{job}.marks", {"fence": fence, "what": "start", "at": time.monotonic()})
    time.sleep(seconds)
    _append(f"{marks}/{job}.marks", {"fence": fence, "what": "end", "at": time.monotonic()})
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
