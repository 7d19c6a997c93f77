"""What may be asked over the local link, of whom, and what the answer is: the one table.

It is the allow-list of the link (all else answers `Unsupported`) and how both ends know an answer's type. A new
command of the Frontend needs its row here.
"""

from __future__ import annotations

from typing import Any, Final

from gpuyard.actors.model import commands as c, names, views as v
from gpuyard.actors.model.approvals import ApprovalRule
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Message, Ping
from gpuyard.actors.model.usage import LiveRun

Calls = dict[type[Message], Any]

EVERY_ACTOR: Final = frozenset(
    {
        names.STORE,
        names.HISTORY,
        names.SCHEDULER,
        names.KEEPER,
        names.LOGS,
        names.GPUS,
        names.WORKERS,
        names.CLOUD,
        names.LINK,
        names.GATEWAY,
        names.BULK,
        names.BLOBS,
        names.PEOPLE,
        names.SECRETS,
        names.WEBHOOKS,
    }
)

# Of every actor.
COMMON: Calls = {Ping: bool, c.Ready: bool}

SCHEDULER: Calls = {
    c.SubmitJob: v.JobAccepted | v.JobRefused,
    c.SubmitJobs: list[v.JobAccepted | v.JobRefused],
    c.RecallKey: list[v.JobAccepted] | None,
    c.CancelJob: v.JobChanged,
    c.CancelJobs: v.JobsCancelled,
    c.SetPriority: v.PriorityChanged,
    c.HoldJob: v.JobChanged,
    c.ReleaseJob: v.JobChanged,
    c.ApproveJob: v.JobChanged,
    c.RejectJob: v.JobChanged,
    c.AddRule: ApprovalRule,
    c.ChangeRule: ApprovalRule,
    c.RemoveRule: ApprovalRule,
    c.GetRules: list[ApprovalRule],
    c.TryRule: list[v.RuleMatch],
    c.PauseQueue: v.QueuePauses,
    c.ResumeQueue: v.QueuePauses,
    c.ProcessQueue: v.QueueProcessed,
    c.StopOrphan: bool,
    c.SetLimits: Limits,
    c.CleanUp: v.JobsDeleted,
    c.DeleteJob: v.JobsDeleted,
    c.GetQueue: v.QueuePage,
    c.GetLive: list[v.LiveJob],
    c.GetStats: v.Stats,
    c.GetLiveUsage: list[LiveRun],
    c.GetMyQueue: v.MyQueue,
    c.GetPosition: v.PositionView,
    c.GetLimits: Limits,
    c.GetGpus: v.GpuPage,
}
HISTORY: Calls = {
    c.GetCloudCost: list[v.CloudCost],
    c.ListJobs: v.HistoryPage,
    c.GetJob: v.JobRecord,
    c.GetEvents: list[EventRow],
    c.GetRunTimes: dict[str, list[float]],
    c.ListAudit: v.AuditPage,
    c.GetLastEvent: tuple[int, int],
    c.GetTimeline: list[v.TimelineSpan],
    c.GetWaits: list[float],
    c.GetUsage: v.UsageSums,
    c.ListApprovals: v.ApprovalPage,
    c.GetApproval: v.ApprovalView,
    c.GetPastSubmits: list[c.PastSubmit],
}
PEOPLE: Calls = {
    c.WatchPeople: v.PeopleView,
    c.ListUsers: list[v.UserView],
    c.AddUser: v.UserAdded,
    c.ChangeUser: v.UserView,
    c.RemoveUser: bool,
    c.ListTeams: list[v.TeamView],
    c.AddTeam: v.TeamView,
    c.ChangeTeam: v.TeamView,
    c.RemoveTeam: bool,
    c.ListTokens: list[v.TokenView],
    c.MakeToken: v.TokenMade,
    c.RevokeToken: v.TokenView,
    c.SetPassword: bool,
    c.LogIn: v.TokenMade | None,
}

BY_ACTOR: dict[str, Calls] = {
    names.SCHEDULER: SCHEDULER,
    names.HISTORY: HISTORY,
    names.PEOPLE: PEOPLE,
    names.LOGS: {c.ReadLog: v.LogChunk},
    names.GPUS: {c.SetGpuAside: bool},
    names.CLOUD: {
        c.ListProviders: list[v.ProviderView],
        c.TestProvider: v.ProviderTested,
        c.SetProvider: v.ProviderView,
        c.HearWebhook: bool,
    },
    names.WORKERS: {
        c.ListWorkers: list[v.WorkerView],
        c.AddWorker: v.WorkerEnrolled,
        c.DrainWorker: v.WorkerView,
        c.RotateWorkerToken: v.WorkerEnrolled,
        c.RemoveWorker: v.WorkerView,
        c.SetGpuAside: bool,
    },
    names.LINK: {c.GetActorStats: v.ActorStats},
    names.GATEWAY: {c.GetGatewayStats: v.GatewayStats},
    names.BULK: {c.GetGatewayStats: v.GatewayStats},
    names.BLOBS: {c.StoreFile: v.BlobStored},
    names.WEBHOOKS: {
        c.AddWebhook: v.WebhookMade,
        c.ListWebhooks: list[v.WebhookView],
        c.SetWebhook: v.WebhookView,
        c.RemoveWebhook: v.WebhookView,
        c.TestWebhook: v.WebhookTested,
        c.ListDeliveries: list[v.DeliveryView],
    },
    # Never FetchSecrets: no answer of the web side holds a value.
    names.SECRETS: {
        c.SetSecret: v.SecretView,
        c.ListSecrets: list[v.SecretView],
        c.DeleteSecret: v.SecretView,
        c.CheckSecrets: str,
    },
}


class Table:
    """An allow-list of calls: whom one may ask what, and what type the answer has."""

    def __init__(self, by_actor: dict[str, Calls], actors: frozenset[str] | None = None) -> None:
        self._by_actor = by_actor
        self._actors = frozenset(by_actor) if actors is None else actors

    def allowed(self, to: str) -> Calls:
        """The messages that `to` may be asked, with their answers' types; empty for one that may not be asked."""
        return COMMON | self._by_actor.get(to, {}) if to in self._actors else {}

    def answers(self) -> Calls:
        """Every message with its answer's type."""
        found = dict(COMMON)
        for calls in self._by_actor.values():
            found |= calls
        return found


LINK: Final = Table(BY_ACTOR, EVERY_ACTOR)
allowed = LINK.allowed
answers = LINK.answers
