"""Job secrets as files: FOLDER/USER/NAME, one a secret, for this user alone.

The file's time stamp says when the secret was last used, 0 that it never was. Every function may block on the disk;
one thread calls them, one after the other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gpuyard.actors import privately
from gpuyard.actors.model import secrets
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.errors import InvalidInput, NotFound, StoreFailed
from gpuyard.actors.model.views import SecretValues, SecretView

NEVER: Final = (0, 0)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds. `set_at` is epoch seconds."""

    variable: str
    value: str
    set_at: float
    set_by: str
    version: int = 1

    def __repr__(self) -> str:
        return f"Kept(variable={self.variable!r}, set_by={self.set_by!r})"


class SecretFiles:
    """Folders are made when they are first needed. All raise StoreFailed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, owner: int, name: str, value: str, variable: str, at: float, by: str) -> SecretView:
        """`variable` "": that of before, else the name in capitals. Raises InvalidInput when there are too many."""
        with _errors(name):
            known = self._known(owner)
            if name not in known and len(known) >= secrets.MOST:
                raise InvalidInput(f"you have {secrets.MOST} secrets already: delete one (`gpuyard secrets list`)")
            before = self._read(owner, name)
            kept = Kept(
                variable=variable or (before.variable if before else secrets.default_variable(name)),
                value=value,
                set_at=at,
                set_by=by,
            )
            privately.folder(self._folder)
            privately.folder(self._folder / str(owner))
            path = self._path(owner, name)
            privately.write(path, msgspec.json.encode(kept))
            os.utime(path, NEVER)
            return _view(name, kept, None)

    def list(self, owner: int) -> list[SecretView]:
        """By name."""
        with _errors("of yours"):
            found = [(name, self._read(owner, name)) for name in self._known(owner)]
            return [_view(name, kept, self._used_at(owner, name)) for name, kept in found if kept is not None]

    def delete(self, owner: int, name: str) -> SecretView:
        """Raises NotFound."""
        with _errors(name):
            kept = self._read(owner, name)
            used_at = self._used_at(owner, name) if kept else None
            if kept is None or not privately.remove(self._path(owner, name)):
                raise NotFound(f"there is no secret {name} of yours; `gpuyard secrets list` shows them")
            return _view(name, kept, used_at)

    def forget(self, owner: int) -> None:
        """All of one user go."""
        with _errors(f"of user {owner}"), suppress(FileNotFoundError):
            shutil.rmtree(self._folder / str(owner))

    def why_not(self, owner: int, names: Sequence[str]) -> str:
        """Why a job that names these could not run; "" when it could."""
        with _errors(", ".join(names)):
            kept = {name: self._read(owner, name) for name in names}
        gone = [name for name, found in kept.items() if found is None]
        if gone:
            return secrets.missing(gone)
        taken: dict[str, str] = {}
        for name, found in kept.items():
            assert found is not None
            first = taken.setdefault(found.variable, name)
            if first != name:
                return secrets.clash(first, name, found.variable)
        return ""

    def fetch(self, owner: int, names: Sequence[str], at: float) -> SecretValues:
        """For a run that starts now. Raises NotFound, InvalidInput."""
        why = self.why_not(owner, names)
        if why:
            raise NotFound(why)
        env = {}
        with _errors(", ".join(names)):
            for name in names:
                kept = self._read(owner, name)
                assert kept is not None, "one thread alone writes here"
                env[kept.variable] = kept.value
                os.utime(self._path(owner, name), (at, at))
        return SecretValues(env=env)

    def _path(self, owner: int, name: str) -> Path:
        return self._folder / str(owner) / secrets.name(name)

    def _known(self, owner: int) -> Sequence[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self._folder / str(owner)) if entry.name[0] != ".")
        except FileNotFoundError:
            return []

    def _read(self, owner: int, name: str) -> Kept | None:
        try:
            return msgspec.json.decode(self._path(owner, name).read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            raise StoreFailed(f"the file of secret {name} is damaged: set it again") from None

    def _used_at(self, owner: int, name: str) -> float | None:
        return self._path(owner, name).stat().st_mtime or None


def _view(name: str, kept: Kept, used_at: float | None) -> SecretView:
    return SecretView(
        name=name,
        variable=kept.variable,
        set_at=iso(kept.set_at),
        set_by=kept.set_by,
        last_used_at=iso(used_at) if used_at else None,
    )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFailed(f"the secret {what} cannot be kept or read: {error.strerror}") from None
