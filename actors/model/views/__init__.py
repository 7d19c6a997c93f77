"""Views: what the core answers to a question, and what the API shows. Times are ISO-8601 UTC strings.

Field names are those of CONTRACT; the API adds nothing to them and renames nothing. One file an area; all of them can
be imported from here.
"""

from gpuyard.actors.model.views.approvals import (
    ApprovalPage as ApprovalPage,
    ApprovalView as ApprovalView,
    RuleMatch as RuleMatch,
)
from gpuyard.actors.model.views.base import View as View
from gpuyard.actors.model.views.blobs import (
    BlobChunk as BlobChunk,
    BlobFetched as BlobFetched,
    BlobManifest as BlobManifest,
    BlobStored as BlobStored,
)
from gpuyard.actors.model.views.cloud import (
    CloudCost as CloudCost,
    ProviderTested as ProviderTested,
    ProviderView as ProviderView,
)
from gpuyard.actors.model.views.fleet import (
    OrphanView as OrphanView,
    WorkerEnrolled as WorkerEnrolled,
    WorkerView as WorkerView,
)
from gpuyard.actors.model.views.gpus import GpuPage as GpuPage, GpuView as GpuView
from gpuyard.actors.model.views.history import (
    AttemptView as AttemptView,
    HistoryPage as HistoryPage,
    JobRecord as JobRecord,
    LiveJob as LiveJob,
    LogChunk as LogChunk,
    TimelineSpan as TimelineSpan,
)
from gpuyard.actors.model.views.link import ActorStats as ActorStats
from gpuyard.actors.model.views.peers import GatewayStats as GatewayStats, TokenIssued as TokenIssued
from gpuyard.actors.model.views.people import (
    AuditEntry as AuditEntry,
    AuditPage as AuditPage,
    Credential as Credential,
    PeopleView as PeopleView,
    TeamView as TeamView,
    TokenMade as TokenMade,
    TokenView as TokenView,
    UserAdded as UserAdded,
    UserView as UserView,
)
from gpuyard.actors.model.views.queue import (
    Entry as Entry,
    Forecast as Forecast,
    JobAccepted as JobAccepted,
    JobChanged as JobChanged,
    JobRefused as JobRefused,
    JobsCancelled as JobsCancelled,
    JobsDeleted as JobsDeleted,
    LocalStats as LocalStats,
    MyQueue as MyQueue,
    PositionView as PositionView,
    PriorityChanged as PriorityChanged,
    QueuePage as QueuePage,
    QueuePauses as QueuePauses,
    QueueProcessed as QueueProcessed,
    Stats as Stats,
    WorkersStats as WorkersStats,
)
from gpuyard.actors.model.views.secrets import SecretValues as SecretValues, SecretView as SecretView
from gpuyard.actors.model.views.store import DatabaseIdentity as DatabaseIdentity
from gpuyard.actors.model.views.usage import UsageSums as UsageSums
from gpuyard.actors.model.views.webhooks import (
    DeliveryView as DeliveryView,
    WebhookMade as WebhookMade,
    WebhookTested as WebhookTested,
    WebhookView as WebhookView,
)
