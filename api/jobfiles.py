"""The files that a config sends along: found below its own folder, and kept by their content at submit.

What the job gets is what lay there then, whatever happens to the files afterwards.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import StoreFile
from gpuyard.actors.model.errors import InvalidInput, NotFound
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.sent_file import MOST_BYTES, MOST_FILES, SentFile
from gpuyard.actors.model.views import BlobStored, JobRefused
from gpuyard.api.core import Core

STORE_SECONDS: Final = 120.0


class Found(msgspec.Struct, frozen=True):
    """One file, by its name below the config's folder."""

    name: str
    path: str
    size: int
    executable: bool


class Unusable(Exception):
    """A file cannot be sent; the text says which, and why."""


async def keep(core: Core, spec: JobSpec, folder: str, wanted: tuple[str, ...], dry_run: bool) -> JobSpec | JobRefused:
    """The spec with its files; a refusal where one of them cannot be had. With `dry_run` none is stored."""
    try:
        found = await asyncio.to_thread(look, Path(folder), wanted)
        if dry_run:
            return spec
        files = {}
        for file in found:
            message = StoreFile(path=file.path, limit=MOST_BYTES)
            stored: BlobStored = await core.ask(names.BLOBS, message, timeout=STORE_SECONDS)
            files[file.name] = SentFile(blob=stored.blob, size=stored.size, executable=file.executable)
    except (Unusable, NotFound, InvalidInput) as error:
        return JobRefused(error="invalid_config", reason=f"config {spec.config_name}: files: {error}")
    return msgspec.structs.replace(spec, files=files)


def look(folder: Path, wanted: tuple[str, ...]) -> list[Found]:
    """All files that `wanted` names, those of folders too. Raises Unusable. Follows no link."""
    found: dict[str, Found] = {}
    for name in wanted:
        for file in _below(folder, name):
            found[file.name] = file
            if len(found) > MOST_FILES:
                raise Unusable(f"more than {MOST_FILES} files")
    if sum(file.size for file in found.values()) > MOST_BYTES:
        raise Unusable(f"more than {MOST_BYTES >> 30} GiB together")
    return list(found.values())


def _below(folder: Path, name: str) -> Iterator[Found]:
    path = folder / name
    try:
        if any((folder / part).is_symlink() for part in _parts(name)):
            raise Unusable(f"{name} is a link, which is not followed")
        info = path.lstat()
        if stat.S_ISDIR(info.st_mode):
            for entry in sorted(path.iterdir()):
                yield from _below(folder, f"{name}/{entry.name}")
        elif stat.S_ISREG(info.st_mode):
            yield Found(name, str(path), info.st_size, bool(info.st_mode & 0o100))
        else:
            raise Unusable(f"{name} is no plain file")
    except OSError as error:
        raise Unusable(f"{name}: {(error.strerror or str(error)).lower()}") from None


def _parts(name: str) -> Iterator[str]:
    """a/b/c → a, a/b, a/b/c."""
    at = name.find("/")
    while at >= 0:
        yield name[:at]
        at = name.find("/", at + 1)
    yield name
