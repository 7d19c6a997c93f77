"""One tree of errors; each class's docstring says when it is raised and what to do about it.

An error travels: an actor raises it, `code` and `detail` go over the link, and the API maps `code` to an
HTTP status (CONTRACT "Rules for every route").
"""

from __future__ import annotations

from typing import Any, ClassVar


class GpuyardError(Exception):
    """Base of everything that gpuyard raises on purpose.

    `detail` is one sentence for a person; `data` holds machine-readable extras (JSON-able).
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, **data: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data


class InvalidInput(GpuyardError):
    """The request is well formed but a value is not allowed: correct the field that is named."""

    code = "invalid_input"


class NotAllowed(GpuyardError):
    """The identity may not do this: ask a lead or an admin."""

    code = "not_allowed"


class NotFound(GpuyardError):
    """No such job, config, worker …: check the id."""

    code = "not_found"


class NotActive(NotFound):
    """The Scheduler holds no active job of that id: it has ended, or never was (history knows which)."""

    code = "not_active"


class WrongState(GpuyardError):
    """The verb does not fit the job's present state."""

    code = "wrong_state"


class IdempotencyConflict(GpuyardError):
    """The Idempotency-Key was used before with another body: take a new key."""

    code = "idempotency_conflict"


class TooManyPending(GpuyardError):
    """The user has `user_max_pending` jobs waiting: wait, or cancel some."""

    code = "too_many_pending"


class Busy(GpuyardError):
    """An actor's inbox is full: try again shortly."""

    code = "busy"


class Unavailable(GpuyardError):
    """The part that answers is starting, stopping or restarting: try again shortly."""

    code = "unavailable"


class StoreFailed(Unavailable):
    """The database could not be written (disk full, read-only, I/O error): nothing was accepted."""

    code = "store_failed"


class TimedOut(Unavailable):
    """No answer within the deadline. The message may still be handled (a repeat is safe)."""

    code = "timed_out"


class Unsupported(GpuyardError):
    """The receiver does not know this message: the two sides are of different versions."""

    code = "unsupported"


class Internal(GpuyardError):
    """A bug: the log has the traceback under the same cause."""

    code = "internal"


class InvalidTransition(GpuyardError):
    """A state machine was asked for a step that its table does not have. A bug, never a user's fault."""

    code = "invalid_transition"


class DatabaseRefused(GpuyardError):
    """The database is damaged, newer than this program, in use or on a network file system. `detail` names the cure."""

    code = "database_refused"


def _tree(cls: type[GpuyardError]) -> dict[str, type[GpuyardError]]:
    found = {cls.code: cls}
    for sub in cls.__subclasses__():
        found.update(_tree(sub))
    return found


def from_code(code: str, detail: str, data: dict[str, Any] | None = None) -> GpuyardError:
    """The error that `code` names, as it arrived over a link; an unknown code gives `Internal`."""
    return _tree(GpuyardError).get(code, Internal)(detail, **(data or {}))
