"""From an order to a running program, or to one sentence that says why there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from typing import IO, Any

from gpuyard.actors.keeper.program.spare import Desk, Keeper

# Everything a program may have inherited as "ignored" (Python ignores SIGPIPE, nohup SIGHUP) is set back.
_ALL_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# Bytes that are copied in one go.
PIECE = 1 << 24


class StartFailed(Exception):
    """The text is for the user."""


def launch(order: dict[str, Any], keeper: Keeper, desk: Desk) -> int:
    """Start the program of `order`; its pid. Raises StartFailed."""
    job_dir: str = order["job_dir"]
    environment = {**keeper.environment, **order["env"]}
    try:
        keeper.give_job_folder(order["job_id"])
    except OSError as error:
        raise StartFailed(f"the job's folder {job_dir} could not be made: {error.strerror}") from None
    _write_files(job_dir, order["files"])
    _copy_files(job_dir, order["copies"])
    _enter(order["cwd"] or job_dir)
    try:
        program = find_program(order["argv"], environment)
        os.set_inheritable(desk.lock_fd, True)
        keeper.raise_oom_score()
        return _spawn(program, order["argv"], environment, desk.log_fd)
    finally:
        keeper.restore_oom_score()
        os.chdir("/")


def find_program(argv: list[str], environment: dict[str, str]) -> str:
    """The file that `argv[0]` names, searched in the PATH of the run's own environment."""
    name = argv[0] if argv else ""
    if not name:
        raise StartFailed("the command is empty")
    if "\0" in name:
        raise StartFailed("the command holds a NUL byte")
    if "/" in name:
        _check_program(name, name)
        return name
    refused = ""
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            refused = refused or path
    if refused:
        raise StartFailed(f"program '{name}' may not be executed: {refused} has no execute permission")
    raise StartFailed(f"program '{name}' was not found in PATH")


def _check_program(name: str, path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise StartFailed(f"program '{name}' does not exist") from None
        raise StartFailed(f"program '{name}' cannot be reached: {error.strerror}") from None
    if os.path.isdir(path):
        raise StartFailed(f"program '{name}' is a folder")
    if not os.access(path, os.X_OK):
        raise StartFailed(f"program '{name}' may not be executed: it has no execute permission")


def _write_files(job_dir: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        with _made(job_dir, name) as file:
            file.write(text.encode("utf-8", "surrogateescape"))


def _copy_files(job_dir: str, copies: dict[str, dict[str, Any]]) -> None:
    for name, copy in copies.items():
        with _made(job_dir, name, 0o777 if copy["executable"] else 0o666) as file, open(copy["path"], "rb") as source:
            while os.sendfile(file.fileno(), source.fileno(), None, PIECE):
                pass


@contextlib.contextmanager
def _made(job_dir: str, name: str, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file of the job's folder, to be written. Raises StartFailed."""
    path = os.path.normpath(f"{job_dir}/{name}")
    if not path.startswith(job_dir + "/"):
        raise StartFailed(f"file {name!r} would lie outside the job's folder")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Aside and renamed: what lies there from an earlier attempt may be a link to somewhere else.
        with open(path + ".new", "wb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            yield file
        os.rename(path + ".new", path)
    except (OSError, ValueError) as error:
        raise StartFailed(f"file {name!r} could not be written: {_words(error)}") from None


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except FileNotFoundError:
        raise StartFailed(f"folder {folder} does not exist") from None
    except NotADirectoryError:
        raise StartFailed(f"{folder} is not a folder") from None
    except PermissionError:
        raise StartFailed(f"folder {folder} may not be entered: permission denied") from None
    except (OSError, ValueError) as error:
        raise StartFailed(f"folder {folder!r} cannot be entered: {_words(error)}") from None


def _spawn(program: str, argv: list[str], environment: dict[str, str], log_fd: int) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log_fd, 1),
        (os.POSIX_SPAWN_DUP2, log_fd, 2),
    ]
    try:
        return os.posix_spawn(
            program, argv, environment, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_ALL_SIGNALS
        )
    except ValueError as error:  # a NUL byte, "=" in the name of a variable
        raise StartFailed(f"the command or its environment is not possible: {error}") from None
    except OSError as error:
        raise StartFailed(_refusal(argv[0], error)) from None


def _refusal(name: str, error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return f"program '{name}' is no executable: a script needs a first line such as '#!/bin/sh'"
    if error.errno == errno.ENOENT:
        return f"program '{name}' names an interpreter that does not exist (see its first line)"
    if error.errno == errno.E2BIG:
        return f"program '{name}' could not be started: its arguments and environment are too long"
    return f"program '{name}' could not be started: {error.strerror}"


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
