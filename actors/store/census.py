"""What the database says of the runs of this host, for whoever compares it with what lives (`gpuyard doctor`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from gpuyard.actors.model.attempt import LIVE, LOCAL_HOST, GpuRef
from gpuyard.actors.store.soundness import reading
from gpuyard.actors.store.tables import LIVE_PHASES

# Ended runs that are looked at, the newest first: their records and processes may still be there.
ENDED: Final = 2_000

SELECT: Final = (
    "SELECT a.fence, a.job_id, q.status, a.phase, a.pid, a.exit_class, a.exit_code, a.gpus, a.host"
    " FROM attempt a JOIN queue q ON q.job_id = a.job_id"
)


_decode_gpus = msgspec.json.Decoder(tuple[GpuRef, ...]).decode


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt as the database has it; `status` is its job's, `gpus` are UUIDs."""

    fence: int
    job_id: str
    status: str
    phase: str
    pid: int | None
    exit_class: str | None
    exit_code: int | None
    gpus: tuple[str, ...]
    host: str = LOCAL_HOST

    @property
    def is_live(self) -> bool:
        return self.phase in LIVE


def attempts(path: Path, fences: Iterable[int] = ()) -> dict[int, Stored]:
    """Those of this host, all live ones and the newest ended ones; and these, wherever. Raises sqlite3.Error."""
    asked = tuple(fences)
    marks = ", ".join("?" * len(asked))
    with reading(path) as connection:
        rows = connection.execute(f"{SELECT} WHERE a.host = ? AND a.phase IN {LIVE_PHASES}", (LOCAL_HOST,)).fetchall()
        rows += connection.execute(
            f"{SELECT} WHERE a.host = ? ORDER BY a.fence DESC LIMIT {ENDED}", (LOCAL_HOST,)
        ).fetchall()
        rows += connection.execute(f"{SELECT} WHERE a.fence IN ({marks})", asked).fetchall()
    return {row[0]: _stored(row) for row in rows}


def _stored(row: tuple[int, str, str, str, int | None, str | None, int | None, str | None, str]) -> Stored:
    fence, job_id, status, phase, pid, exit_class, exit_code, gpus, host = row
    uuids = tuple(gpu.uuid for gpu in _decode_gpus(gpus)) if gpus else ()
    return Stored(
        fence=fence,
        job_id=job_id,
        status=status,
        phase=phase,
        pid=pid,
        exit_class=exit_class,
        exit_code=exit_code,
        gpus=uuids,
        host=host,
    )
