"""What is asked about job secrets. A value goes in by SetSecret and out by FetchSecrets, to whoever starts the run."""

from __future__ import annotations

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class SetSecret(Message, frozen=True, kw_only=True):
    """Keep this value as the asker's secret `name`, in the place of one of before. `variable` is the environment
    variable of runs ("": that of before, else the name in capitals).

    From: Frontend. To: SecretStore. Reply: SecretView. Errors: InvalidInput, StoreFailed. Repeat: harmless.
    """

    name: str
    value: str
    variable: str = ""
    by: Viewer = OWNER

    def __repr__(self) -> str:
        return f"SetSecret(name={self.name!r}, by={self.by!r})"


class ListSecrets(Message, frozen=True, kw_only=True):
    """The asker's secrets by name, without their values. From: Frontend. To: SecretStore. Reply: list of SecretView.

    Repeat: harmless.
    """

    by: Viewer = OWNER


class DeleteSecret(Message, frozen=True, kw_only=True):
    """Delete the asker's secret. Runs that have it keep it; jobs that wait for it fail when they start.

    From: Frontend. To: SecretStore. Reply: SecretView. Errors: NotFound, StoreFailed. Repeat: NotFound.
    """

    name: str
    by: Viewer = OWNER


class CheckSecrets(Message, frozen=True, kw_only=True):
    """May a job of the asker name these? From: Frontend. To: SecretStore. Reply: why not, in a sentence; "" if it may.

    Repeat: harmless.
    """

    names: tuple[str, ...]
    by: Viewer = OWNER


class FetchSecrets(Message, frozen=True, kw_only=True):
    """The values for a run that starts now. From: ProcessKeeper. To: SecretStore; on a worker to the server's
    WorkerRegistry, which looks only at `fence` and gives what that run's own order names.

    `worker` is who asks, as the socket knows it by its key. Reply: SecretValues. Errors: NotFound (deleted
    meanwhile), NotAllowed (a worker asks for what is not its run), StoreFailed; Unavailable, Busy: ask again.
    Repeat: harmless.
    """

    fence: int
    owner: int = 0
    names: tuple[str, ...] = ()
    worker: str = ""


class ForgetSecrets(Message, frozen=True, kw_only=True):
    """A user is no more: delete all its secrets. From: People. To: SecretStore. Repeat: harmless."""

    owner: int
