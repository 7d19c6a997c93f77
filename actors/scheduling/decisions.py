"""Which function of the core decides on which message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gpuyard.actors.model import (
    ask,
    cancel,
    change,
    commands as c,
    events as e,
    host_news,
    orphan_news,
    pauses,
    reviews,
    runs,
    submit,
)
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.yard import Yard

Decision = Callable[[Yard, Any, Now, Outbox], Any]
Answer = Callable[[Yard, Any, Now], Any]

# Facts that other actors tell. Before the first pass they wait for it.
REPORTS: Final[Mapping[type[Message], Decision]] = {
    e.WorkerFacts: host_news.workers_changed,
    e.AttemptAccepted: runs.accepted,
    e.AttemptProgress: runs.progressed,
    e.AttemptStarted: runs.started,
    e.AttemptExited: runs.exited,
    e.GpuEmptied: runs.emptied,
    e.GpusLooked: runs.looked,
    e.ForeignSeen: runs.foreign_seen,
    e.OrphanSeen: runs.orphan_seen,
    c.WantAgain: runs.want_again,
}

# What the edges want. Answered when what it changes is durable; an error changes nothing.
COMMANDS: Final[Mapping[type[Message], Decision]] = {
    c.SubmitJob: submit.submit_one,
    c.SubmitJobs: submit.submit_many,
    c.CancelJob: cancel.cancel_one,
    c.CancelJobs: cancel.cancel_many,
    c.SetPriority: change.set_priority,
    c.HoldJob: change.hold,
    c.ReleaseJob: change.release,
    c.ApproveJob: reviews.approve,
    c.RejectJob: reviews.reject,
    c.AddRule: reviews.add_rule,
    c.ChangeRule: reviews.change_rule,
    c.RemoveRule: reviews.remove_rule,
    c.SetLimits: change.set_limits,
    c.PauseQueue: pauses.pause,
    c.ResumeQueue: pauses.resume,
    c.ProcessQueue: change.process,
    c.StopOrphan: orphan_news.stop,
}

# What the edges ask. Answered from memory, behind the commits that are under way.
QUESTIONS: Final[Mapping[type[Message], Answer]] = {
    c.RecallKey: submit.recall,
    c.GetRules: reviews.rules,
    c.TryRule: reviews.try_rule,
    c.GetQueue: ask.queue,
    c.GetLive: ask.live,
    c.GetLiveUsage: ask.live_usage,
    c.GetStats: ask.stats,
    c.GetMyQueue: ask.my_queue,
    c.GetPosition: ask.position,
    c.GetLimits: lambda yard, _message, _now: yard.limits,
    c.GetGpus: lambda yard, _message, _now: ask.gpus(yard),
}
