"""The configs folder: list it, read one config, turn its name into what a job is made of.

A name is looked up as NAME.toml, NAME.json, NAME.yaml, NAME/config.toml, NAME/config.json, in that order. Every file
is opened relative to an open folder and never through a symbolic link, so no name leads out of the folder, whatever
is swapped meanwhile. What was read is what the job gets: its text and SHA-256 go into the JobSpec.

Nothing here is fast (disk): routes call it in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from gpuyard.actors.model import bounds
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.description import Description, Problem, Source, read
from gpuyard.actors.model.errors import InvalidInput, NotFound
from gpuyard.api import zones
from gpuyard.api.configtext import parse

MAX_BYTES: Final = 256 * 1024
MAX_LISTED: Final = 10_000
FORMATS: Final = ("toml", "json", "yaml")
IN_FOLDER: Final = ("config.toml", "config.json")

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking: a FIFO must not hang us
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnknownConfig(NotFound):
    """No such config in the configs folder: `gpuyard` shows them under GET /api/configs."""


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """A config as it was read, once. `data` is JSON-able; `problem` says why it could not be parsed."""

    name: str
    format: str
    folder: str
    text: str
    sha256: str
    data: dict[str, Any] = {}
    problem: str | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    format: str
    file: str
    size: int
    modified_at: str


def check_name(name: str) -> None:
    """Raises InvalidInput for a name outside the allowed pattern."""
    if not bounds.matches(bounds.CONFIG_NAME, name):
        raise InvalidInput(
            "config_name must begin with a letter or digit and hold only letters, digits, dots, dashes and underscores"
            " (at most 128)",
            field="config_name",
        )


class Configs:
    """The configs below `root`; `launch` starts those of SimpleTuner."""

    def __init__(self, root: str, launch: tuple[str, ...] = ("simpletuner", "train")) -> None:
        self.root = str(Path(root).absolute()) if root else ""
        self.launch = launch

    def read(self, name: str) -> ConfigFile:
        """Raises InvalidInput (name), UnknownConfig."""
        check_name(name)
        with self._opened() as root:
            if root is not None:
                for format in FORMATS:
                    if (raw := _bytes(f"{name}.{format}", root)) is not None:
                        return _file(name, format, self.root, raw)
                if (folder := _open(name, _FOLDER, root)) is not None:
                    try:
                        for file in IN_FOLDER:
                            if (raw := _bytes(file, folder)) is not None:
                                return _file(name, file.partition(".")[2], f"{self.root}/{name}", raw)
                    finally:
                        os.close(folder)
        raise UnknownConfig(f"there is no config {name!r} in the configs folder", config_name=name)

    def describe(self, file: ConfigFile) -> Description:
        """What `file` asks for, its problems included."""
        source = Source(name=file.name, format=file.format, folder=file.folder, root=self.root, launch=self.launch)
        found = read(file.data, source)
        try:
            if "window" in found.values:
                zones.known(found.values["window"])
        except ValueError as error:
            problem = Problem("window", f"window {error}")
            return msgspec.structs.replace(found, problems=(*found.problems, problem))
        return found

    def validate(self, file: ConfigFile) -> tuple[list[str], list[str]]:
        """(errors, warnings) as sentences."""
        found = self.describe(file)
        return [problem.text for problem in found.problems], [*found.warnings]

    def listing(self) -> list[Listed]:
        """All configs, by name; of several files of one name the one that `read` takes."""
        found: dict[str, Listed] = {}
        with self._opened() as root:
            if root is None:
                return []
            for name, format, file in sorted(_candidates(root), key=lambda item: (item[0], _rank(item[2]))):
                if name not in found and (info := _stat(file, root)) is not None:
                    found[name] = Listed(
                        name=name, format=format, file=file, size=info.st_size, modified_at=iso(info.st_mtime)
                    )
        return list(found.values())

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """The root folder, open; None where there is none. The root itself may be a link: the admin chose it."""
        try:
            root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if self.root else None
        except OSError:
            root = None
        try:
            yield root
        finally:
            if root is not None:
                os.close(root)


@lru_cache(maxsize=8)
def configs_of(root: str, launch: tuple[str, ...]) -> Configs:
    """The same object for the same settings: making it costs a tenth of a submit."""
    return Configs(root, launch)


def _open(name: str, flags: int, folder: int) -> int | None:
    """None when it is not there, is a link, or may not be opened."""
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError:
        return None


def _bytes(name: str, folder: int) -> bytes | None:
    """At most MAX_BYTES + 1 bytes of a plain file of this very folder."""
    if (fd := _open(name, _FILE, folder)) is None:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(fd)


def _file(name: str, format: str, folder: str, raw: bytes) -> ConfigFile:
    data: dict[str, Any] = {}
    text, problem = "", None
    try:
        if len(raw) > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES // 1024} KiB")
        text = raw.decode("utf-8-sig")
        data = parse(text, format)
    except UnicodeDecodeError:
        problem = "the file is not UTF-8 text"
    except ValueError as error:
        problem = str(error)
    sha256 = hashlib.sha256(raw).hexdigest()
    return ConfigFile(name=name, format=format, folder=folder, text=text, sha256=sha256, data=data, problem=problem)


def _candidates(root: int) -> Iterator[tuple[str, str, str]]:
    """(config name, format, file relative to the root) of everything that looks like a config."""
    with os.scandir(root) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_LISTED:
                return
            if entry.is_symlink():
                continue
            path = Path(entry.name)
            if entry.is_dir() and bounds.matches(bounds.CONFIG_NAME, entry.name):
                yield from ((entry.name, file.partition(".")[2], f"{entry.name}/{file}") for file in IN_FOLDER)
            elif path.suffix[1:] in FORMATS and bounds.matches(bounds.CONFIG_NAME, path.stem):
                yield path.stem, path.suffix[1:], entry.name


def _stat(file: str, root: int) -> os.stat_result | None:
    try:
        info = os.stat(file, dir_fd=root, follow_symlinks=False)
    except OSError:
        return None
    return info if stat.S_ISREG(info.st_mode) else None


def _rank(file: str) -> int:
    """The place of `file` in the order of looking up."""
    folder, _, base = file.rpartition("/")
    return len(FORMATS) + IN_FOLDER.index(base) if folder else FORMATS.index(base.rpartition(".")[2])
