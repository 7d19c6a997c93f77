"""The files of a job, as the server keeps them: by their content, in DATA/blobs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from gpuyard.actors.cloud.provider import Refused, Retryable
from gpuyard.actors.model.cloud_remote import Order

FOLDER: Final = "blobs"
PIECE: Final = 1 << 20


def shown(size: int) -> str:
    """Bytes for people.

    >>> shown(900), shown(6000), shown(300 << 20), shown(3 << 30)
    ('900 bytes', '5.9 KiB', '300 MiB', '3.0 GiB')
    """
    if size < 1024:
        return f"{size} bytes"
    unit = min(3, (size.bit_length() - 1) // 10)
    number = size / (1 << 10 * unit)
    return f"{number:.1f} {' KMG'[unit]}iB" if number < 10 else f"{number:.0f} {' KMG'[unit]}iB"


def source(data_dir: Path, order: Order, name: str) -> Path:
    """Where the content of a file of the job lies here. Raises Refused when it is gone."""
    path = data_dir / FOLDER / order.spec.sent[name].blob
    if not path.is_file():
        raise Refused(f"the content of {name} is not kept here any more: submit the job again")
    return path


def copy_all(order: Order, data_dir: Path, folder: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Copy what `folder` does not have, each file under the name of its content; name → path. Blocks.

    A file appears only when it is whole, so what a crash left half copied is copied again and nothing else is.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {}
    for number, (name, file) in enumerate(order.spec.sent.items(), 1):
        path = folder / file.blob
        made[name] = str(path)
        if path.exists() and path.stat().st_size == file.size:
            continue
        progress(f"copying {name}, {shown(file.size)} ({number} of {len(order.spec.sent)})")
        draft = folder / f"{file.blob}.{order.fence}"
        try:
            shutil.copyfile(source(data_dir, order, name), draft)
            draft.replace(path)
        except OSError as error:
            raise Retryable(f"{name} cannot be copied to {folder}: {error.strerror}") from error
    return made


async def pieces(path: Path, told: Callable[[float], None]) -> AsyncIterator[bytes]:
    """The content of a file piece by piece; `told` gets the share that was read before each."""
    whole, done = max(1, path.stat().st_size), 0
    with path.open("rb") as file:
        while data := file.read(PIECE):
            told(done / whole)
            done += len(data)
            yield data


class Tenths:
    """Says how far an upload is, at each tenth."""

    def __init__(self, what: str, progress: Callable[[str], None]) -> None:
        self._what, self._progress, self._next = what, progress, 0.1

    def __call__(self, share: float) -> None:
        if share >= self._next:
            self._progress(f"uploading {self._what}: {share:.0%}")
            self._next = share + 0.1
