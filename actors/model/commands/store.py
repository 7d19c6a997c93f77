"""Between the Scheduler and the QueueStore."""

from __future__ import annotations

from gpuyard.actors.model.commit import Row
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.registers import RecordRow


class LoadSnapshot(Message, frozen=True, kw_only=True):
    """Read all active state. From: Scheduler. To: QueueStore. Reply (told back): SnapshotLoaded.

    `generation` is the new generation: from now on commits of an older one are refused. Repeat: harmless.
    """

    generation: int


class Commit(Message, frozen=True, kw_only=True):
    """One decision, to be durable as a whole (DESIGN 3, "QueueStore remembers"). From: Scheduler. To: QueueStore.

    Told, in order of `number`, which grows by one from commit to commit of a generation (a gap is a lost message:
    the generation is void); answered by Committed or CommitFailed. Commits that wait together share one
    transaction. After a failure all later numbers of that generation are refused. Repeat: never repeated.

    `effects` are the messages that must not leave before the rows are durable: (actor, message), starts first. The
    store sends them itself, which spares a start the way back through the Scheduler. They stay in the process.
    `awaited`: somebody waits for an answer. Of a commit that nobody waits for, starts on this host leave once it is
    written, a sync earlier than all else: then our death takes it back no more, and a power loss ends the run too.
    """

    generation: int
    number: int
    rows: tuple[Row, ...]
    effects: tuple[tuple[str, Message], ...] = ()
    awaited: bool = True


class GetCommitTimes(Message, frozen=True, kw_only=True):
    """How long the last group commits took. From: the link (for ActorStats). To: QueueStore.

    Reply: list of seconds, at most 256, newest last. Repeat: harmless.
    """


class GetIdentity(Message, frozen=True, kw_only=True):
    """Which database is this? From: actors that speak with other hosts, at their start. To: QueueStore.

    Reply: DatabaseIdentity. Repeat: harmless.
    """


class Record(Message, frozen=True, kw_only=True):
    """Make these rows of registers durable, as a whole. From: the actor that owns the registers. To: QueueStore.

    Reply: True once they are. Errors: StoreFailed, InvalidInput (no such register or column, or a value that is
    taken). Repeat: harmless, but for AppendAudit, which writes its line again.
    """

    rows: tuple[RecordRow, ...]


class LoadRegisters(Message, frozen=True, kw_only=True):
    """Read whole registers. From: the actor that owns them, at its start. To: QueueStore.

    Reply: dict register → list of rows (column → value, as stored). Errors: StoreFailed, InvalidInput. Repeat:
    harmless.
    """

    registers: tuple[str, ...]
