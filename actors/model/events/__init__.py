"""Events: past tense, facts that an actor tells; a listener's error is logged, never returned.

Each docstring: what · From · To · Repeat (what a second delivery does). One file an area; all of them can be imported
from here.
"""

from gpuyard.actors.model.events.cloud import ProviderFacts as ProviderFacts
from gpuyard.actors.model.events.fleet import PeerSaid as PeerSaid, WorkerFact as WorkerFact, WorkerFacts as WorkerFacts
from gpuyard.actors.model.events.gpus import (
    ForeignSeen as ForeignSeen,
    GpuEmptied as GpuEmptied,
    GpuFacts as GpuFacts,
    GpusLooked as GpusLooked,
)
from gpuyard.actors.model.events.journal import JournalKept as JournalKept, JournalLoaded as JournalLoaded
from gpuyard.actors.model.events.peers import KeysWanted as KeysWanted, LinkChanged as LinkChanged
from gpuyard.actors.model.events.runs import (
    AttemptAccepted as AttemptAccepted,
    AttemptExited as AttemptExited,
    AttemptProgress as AttemptProgress,
    AttemptStarted as AttemptStarted,
    OrphanSeen as OrphanSeen,
    RunsAdopted as RunsAdopted,
)
from gpuyard.actors.model.events.store import (
    CommitFailed as CommitFailed,
    Committed as Committed,
    SnapshotLoaded as SnapshotLoaded,
)
