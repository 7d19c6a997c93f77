"""Signing secrets as files: FOLDER/WEBHOOK, one each, for this user alone. They must be readable to sign with, so they
are no hashes; they are in no database. Raises StoreFailed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gpuyard.actors import privately
from gpuyard.actors.model.errors import StoreFailed
from gpuyard.actors.model.webhooks import signing

ID: Final = re.compile("wh_[0-9a-z]{1,40}")


class Keys:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, webhook_id: str) -> str:
        """A new secret."""
        secret = signing.secret_of(secrets.token_bytes(32))
        with _errors():
            privately.folder(self._folder.parent)
            privately.folder(self._folder)
            privately.write(self._path(webhook_id), secret.encode())
        return secret

    def read(self, webhook_id: str) -> str:
        with _errors():
            return self._path(webhook_id).read_text("ascii")

    def remove(self, webhook_id: str) -> None:
        with _errors():
            privately.remove(self._path(webhook_id))

    def sweep(self, known: Container[str]) -> None:
        """Remove those of no webhook: it was never stored, or its end was cut short."""
        with _errors():
            for path in self._folder.iterdir() if self._folder.is_dir() else ():
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def _path(self, webhook_id: str) -> Path:
        if not ID.fullmatch(webhook_id):
            raise StoreFailed("no such webhook")
        return self._folder / webhook_id


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is damaged"
        raise StoreFailed(f"the signing secret cannot be kept or read ({what}): add the webhook anew") from None
