"""Commands: imperative, one receiver, a typed reply. Errors named in a docstring go to the asker.

Each docstring: what · From · To · Reply · Errors · Repeat (what a second delivery does). One file an area; all of them
can be imported from here.
"""

from gpuyard.actors.model.commands.agent import (
    AppendJournal as AppendJournal,
    LeaveServer as LeaveServer,
    LoadJournal as LoadJournal,
    ShortenJournal as ShortenJournal,
)
from gpuyard.actors.model.commands.approvals import (
    AddRule as AddRule,
    ApproveJob as ApproveJob,
    ChangeRule as ChangeRule,
    GetApproval as GetApproval,
    GetPastSubmits as GetPastSubmits,
    GetRules as GetRules,
    ListApprovals as ListApprovals,
    PastSubmit as PastSubmit,
    RejectJob as RejectJob,
    RemoveRule as RemoveRule,
    TryRule as TryRule,
)
from gpuyard.actors.model.commands.blobs import (
    FetchBlob as FetchBlob,
    GetManifest as GetManifest,
    KeepBlobs as KeepBlobs,
    ListBlobs as ListBlobs,
    ReadChunk as ReadChunk,
    StoreFile as StoreFile,
)
from gpuyard.actors.model.commands.cloud import (
    GetCloudCost as GetCloudCost,
    HearWebhook as HearWebhook,
    ListProviders as ListProviders,
    SetProvider as SetProvider,
    TestProvider as TestProvider,
)
from gpuyard.actors.model.commands.fleet import (
    AddWorker as AddWorker,
    AllowKeys as AllowKeys,
    DrainWorker as DrainWorker,
    ListWorkers as ListWorkers,
    RemoveWorker as RemoveWorker,
    RotateWorkerToken as RotateWorkerToken,
    SendToPeer as SendToPeer,
    StopOrphan as StopOrphan,
    WantAgain as WantAgain,
    WatchWorkers as WatchWorkers,
)
from gpuyard.actors.model.commands.gpus import (
    GetGpuFacts as GetGpuFacts,
    LookAtGpus as LookAtGpus,
    SetGpuAside as SetGpuAside,
    WatchGpus as WatchGpus,
    WatchRelease as WatchRelease,
    WatchStart as WatchStart,
)
from gpuyard.actors.model.commands.history import (
    GetEvents as GetEvents,
    GetJob as GetJob,
    GetLastEvent as GetLastEvent,
    GetRunTimes as GetRunTimes,
    GetTimeline as GetTimeline,
    GetWaits as GetWaits,
    ListAudit as ListAudit,
    ListJobs as ListJobs,
    ReadLog as ReadLog,
)
from gpuyard.actors.model.commands.link import GetActorStats as GetActorStats, Publish as Publish
from gpuyard.actors.model.commands.peers import (
    CallPeer as CallPeer,
    GetGatewayStats as GetGatewayStats,
    IssueToken as IssueToken,
    SendHeartbeat as SendHeartbeat,
    TellPeer as TellPeer,
)
from gpuyard.actors.model.commands.people import (
    AddTeam as AddTeam,
    AddUser as AddUser,
    ChangeTeam as ChangeTeam,
    ChangeUser as ChangeUser,
    ListTeams as ListTeams,
    ListTokens as ListTokens,
    ListUsers as ListUsers,
    LogIn as LogIn,
    MakeToken as MakeToken,
    RemoveTeam as RemoveTeam,
    RemoveUser as RemoveUser,
    RevokeToken as RevokeToken,
    SetPassword as SetPassword,
    WatchPeople as WatchPeople,
)
from gpuyard.actors.model.commands.queue import (
    CancelJob as CancelJob,
    CancelJobs as CancelJobs,
    CleanUp as CleanUp,
    DeleteJob as DeleteJob,
    GetGpus as GetGpus,
    GetLimits as GetLimits,
    GetLive as GetLive,
    GetMyQueue as GetMyQueue,
    GetPosition as GetPosition,
    GetQueue as GetQueue,
    GetStats as GetStats,
    HoldJob as HoldJob,
    PauseQueue as PauseQueue,
    ProcessQueue as ProcessQueue,
    Ready as Ready,
    RecallKey as RecallKey,
    ReleaseJob as ReleaseJob,
    ResumeQueue as ResumeQueue,
    SetLimits as SetLimits,
    SetPriority as SetPriority,
    SubmitJob as SubmitJob,
    SubmitJobs as SubmitJobs,
)
from gpuyard.actors.model.commands.runs import (
    ForgetRun as ForgetRun,
    PurgeRuns as PurgeRuns,
    RenewLeases as RenewLeases,
    RunSpec as RunSpec,
    SetRunsAside as SetRunsAside,
    WantedComplete as WantedComplete,
    WantRun as WantRun,
    WantStop as WantStop,
    WatchRuns as WatchRuns,
)
from gpuyard.actors.model.commands.secrets import (
    CheckSecrets as CheckSecrets,
    DeleteSecret as DeleteSecret,
    FetchSecrets as FetchSecrets,
    ForgetSecrets as ForgetSecrets,
    ListSecrets as ListSecrets,
    SetSecret as SetSecret,
)
from gpuyard.actors.model.commands.store import (
    Commit as Commit,
    GetCommitTimes as GetCommitTimes,
    GetIdentity as GetIdentity,
    LoadRegisters as LoadRegisters,
    LoadSnapshot as LoadSnapshot,
    Record as Record,
)
from gpuyard.actors.model.commands.usage import GetLiveUsage as GetLiveUsage, GetUsage as GetUsage
from gpuyard.actors.model.commands.webhooks import (
    AddWebhook as AddWebhook,
    ForgetWebhooks as ForgetWebhooks,
    ListDeliveries as ListDeliveries,
    ListWebhooks as ListWebhooks,
    RemoveWebhook as RemoveWebhook,
    SetWebhook as SetWebhook,
    TestWebhook as TestWebhook,
)
