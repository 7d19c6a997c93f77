"""GPUs set aside by hand or by a fault, kept in a small file beside the database: they stay so after a restart."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from gpuyard.actors import procfs
from gpuyard.actors.model.gpu_card import Asides

log = logging.getLogger("gpuyard.gpus")

FILE = "gpus.json"


def load(folder: Path | None) -> Asides:
    """What was kept; nothing when there is no file. A damaged one is reported and left where it is.

    Xid faults of an earlier boot are gone with it.
    """
    boot = procfs.boot_id()
    found = _read(folder / FILE) if folder is not None else Asides()
    if found.boot_id != boot:
        found.boot_id, found.xids = boot, {}
    return found


def _read(path: Path) -> Asides:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Asides)
    except FileNotFoundError:
        return Asides()
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s cannot be read (%s): GPUs that were excluded by hand are not", path, error)
        return Asides()


def save(folder: Path | None, asides: Asides) -> None:
    """Replace the file in one step. Raises OSError."""
    if folder is None:
        return
    fresh = folder / f"{FILE}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(asides), indent=2) + b"\n")
    fresh.replace(folder / FILE)
