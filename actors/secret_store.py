"""SecretStore: keeps job secrets, and gives their values to whoever starts a run that names them, to nobody else.

Takes SetSecret, ListSecrets, DeleteSecret, CheckSecrets (Frontend, asked), FetchSecrets (the ProcessKeeper of this host
and the WorkerRegistry, asked), ForgetSecrets (People). A change stands in the audit before it is made. All work with
the disk is done by one helper thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.model import commands as c, names, secrets
from gpuyard.actors.model.errors import GpuyardError, Internal, InvalidInput, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.registers import audit_line
from gpuyard.actors.secrets.files import SecretFiles

log = logging.getLogger("gpuyard.secrets")

T = TypeVar("T")

FOLDER: Final = "secrets"
STOPPING: Final = "the secrets are stopping: try again shortly"


class SecretStore(Actor):
    """Keeps DATA/secrets."""

    def __init__(self, context: Context, data_dir: Path) -> None:
        super().__init__(context)
        self._files = SecretFiles(Path(data_dir).absolute() / FOLDER)
        self._store = context.ref(names.STORE)

    def started(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="secrets")

    def stopped(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        files, now = self._files, self.clock.now()
        match message:
            case c.SetSecret(by=by):
                name, value, variable = _checked(message)
                detail = {"variable": variable} if variable else {}
                change = audit_line(by, now, "secret_set", name, message.cause, **detail)
                return self._change(
                    change, lambda: files.put(by.user_id, name, value, variable, now, by.username), reply
                )
            case c.DeleteSecret(name=name, by=by):
                name = _valid("name", secrets.name, name)
                change = audit_line(by, now, "secret_deleted", name, message.cause)
                return self._change(change, lambda: files.delete(by.user_id, name), reply)
            case c.ListSecrets(by=by):
                return self._work(lambda: files.list(by.user_id), reply)
            case c.CheckSecrets(names=wanted, by=by):
                return self._work(lambda: files.why_not(by.user_id, wanted), reply)
            case c.FetchSecrets(owner=owner, names=wanted):
                return self._work(lambda: files.fetch(owner, wanted, now), reply)
            case c.ForgetSecrets(owner=owner):
                return self._work(lambda: files.forget(owner), reply)
            case c.Ready():
                return True
            case _:
                return self.unsupported(message)

    def _change(self, audit: Any, do: Callable[[], Any], reply: Reply | None) -> Any:
        """Nothing changes that the audit does not tell of; what fails behind it has been tried, and says so."""

        def written(stored: Reply) -> None:
            """In the store's thread."""
            error = stored.exception()
            if error is not None:
                decline(reply, error)
            else:
                self._work(do, reply)

        self._store.ask(c.Record(rows=(audit,), cause=audit.cause)).add_done_callback(written)
        return LATER

    def _work(self, do: Callable[[], Any], reply: Reply | None) -> Any:
        """Done by the helper thread, which answers. From any thread."""

        def work() -> None:
            try:
                answer = do()
            except GpuyardError as error:
                decline(reply, error)
            except Exception as error:
                log.exception("the secrets failed")
                decline(reply, Internal(f"the secrets failed: {type(error).__name__}"))
            else:
                reply_with(reply, answer)

        try:
            done = self._thread.submit(work)
        except RuntimeError:  # it has been shut down
            decline(reply, Unavailable(STOPPING))
        else:
            done.add_done_callback(lambda done: decline(reply, Unavailable(STOPPING)) if done.cancelled() else None)
        return LATER


def _checked(message: c.SetSecret) -> tuple[str, str, str]:
    """Name, value and variable. Raises InvalidInput."""
    variable = _valid("variable", secrets.variable, message.variable) if message.variable else ""
    name = _valid("name", secrets.name, message.name)
    if not variable:
        _valid("name", secrets.variable, secrets.default_variable(name))
    return name, _valid("value", secrets.content, message.value), variable


def _valid(field: str, check: Callable[[object], T], value: object) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise InvalidInput(f"{field} {error}", field=field) from None
