"""The tables as peewee models: what `migrations/` has built, for the queries that are put together at run time.

The migrations say types, defaults and triggers; a test compares the two. Models are bound to no database: each query
is executed on the connection of the actor that asks (`query.execute(database)`).
"""

from __future__ import annotations

from typing import Final

from peewee import SQL, AutoField, CompositeKey, FloatField, ForeignKeyField, IntegerField, Model, TextField

LIVE_PHASES: Final = ("assigned", "starting", "running", "stopping")
TERMINAL_STATUSES: Final = ("completed", "failed", "cancelled")


class Queue(Model):
    """A job. `position` is the FIFO sequence; the positions that people see are computed."""

    id = IntegerField(primary_key=True)
    job_id = TextField(unique=True)
    user_id = IntegerField(null=True, index=True)
    team_id = TextField(null=True)
    provider = TextField(null=True, default="replicate")
    config_name = TextField(null=True)
    priority = IntegerField(null=True, default=10)
    priority_override = IntegerField(null=True)
    status = TextField(null=True, default="pending", index=True)
    position = IntegerField(null=True, default=0)
    queued_at = TextField()
    started_at = TextField(null=True)
    completed_at = TextField(null=True)
    estimated_cost = FloatField(null=True, default=0.0)
    requires_approval = IntegerField(null=True, default=0)
    approval_id = IntegerField(null=True)
    attempt = IntegerField(null=True, default=1)
    max_attempts = IntegerField(null=True, default=3)
    error_message = TextField(null=True)
    metadata = TextField(null=True)
    allocated_gpus = TextField(null=True)
    job_type = TextField(null=True, default="cloud")
    num_processes = IntegerField(null=True, default=1)
    name = TextField(null=True)
    target = TextField(default="auto")
    ranked_at = TextField(null=True)
    wait_until = TextField(null=True)
    held = IntegerField(default=0)
    cancel_requested = IntegerField(default=0)
    exit_code = IntegerField(null=True)
    exit_class = TextField(null=True)
    cost_usd = FloatField(null=True)
    retry_of = TextField(null=True)

    class Meta:
        table_name = "queue"


Queue.add_index(
    Queue.index(
        Queue.completed_at,
        Queue.id,
        Queue.status,
        Queue.user_id,
        Queue.config_name,
        where=SQL("completed_at IS NOT NULL"),
        name="queue_finished",
    )
)


class Spec(Model):
    """What a job asked for, as JSON (`model.job.JobSpec`)."""

    id = ForeignKeyField(Queue, primary_key=True, column_name="id", on_delete="CASCADE")
    spec = TextField()

    class Meta:
        table_name = "job_spec"


class Attempt(Model):
    """One try. `gpus` is a JSON array of `{uuid, index}`."""

    fence = IntegerField(primary_key=True)
    job_id = TextField(index=True)
    number = IntegerField()
    phase = TextField()
    host = TextField()
    gpus = TextField()
    assigned_at = TextField()
    started_at = TextField(null=True)
    ended_at = TextField(null=True)
    pid = IntegerField(null=True)
    exit_code = IntegerField(null=True)
    exit_class = TextField(null=True)
    error = TextField(null=True)
    stop_reason = TextField(null=True)

    class Meta:
        table_name = "attempt"


class GpuHold(Model):
    """A GPU in the hands of an attempt; open until `closed_at`."""

    fence = IntegerField()
    uuid = TextField()
    host = TextField()
    gpu_index = IntegerField()
    opened_at = TextField()
    closed_at = TextField(null=True)

    class Meta:
        table_name = "gpu_hold"
        primary_key = CompositeKey("fence", "uuid")
        without_rowid = True


GpuHold.add_index(
    GpuHold.index(GpuHold.host, GpuHold.uuid, unique=True, where=SQL("closed_at IS NULL"), name="gpu_hold_open")
)


class Event(Model):
    """One line of the append-only story. `user_id` is whose event it is, `who` did it (user `by_user_id`, with the
    token `token_id`, from `address`)."""

    id = IntegerField(primary_key=True)
    at = TextField()
    kind = TextField()
    job_id = TextField(null=True)
    user_id = IntegerField(null=True)
    who = TextField(default="")
    data = TextField(default="{}")
    cause = TextField(default="")
    by_user_id = IntegerField(null=True)
    token_id = IntegerField(null=True)
    address = TextField(default="")

    class Meta:
        table_name = "event"


Event.add_index(Event.index(Event.job_id, where=SQL("job_id IS NOT NULL"), name="event_job_id"))
Event.add_index(Event.index(Event.at, Event.user_id, where=SQL("kind = 'job_submitted'"), name="event_submitted"))


class Idempotency(Model):
    """The idempotency keys of the last 24 hours; `job_ids` is a JSON array."""

    user_id = IntegerField()
    key = TextField()
    digest = TextField()
    job_ids = TextField()
    at = TextField(index=True)

    class Meta:
        table_name = "idempotency"
        primary_key = CompositeKey("user_id", "key")


class Setting(Model):
    """Any JSON value by name; names that begin with `store.` are the store's own (`identity.py`)."""

    key = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "setting"


class Team(Model):
    id = TextField(primary_key=True)
    name = TextField()
    created_at = TextField()

    class Meta:
        table_name = "team"


class User(Model):
    """A row stays when its user is deleted: ids are never given twice."""

    id = IntegerField(primary_key=True)
    username = TextField(unique=True)
    level = TextField()
    team_id = TextField(null=True)
    created_at = TextField()
    disabled_at = TextField(null=True)
    password_hash = TextField(null=True)
    deleted_at = TextField(null=True)

    class Meta:
        table_name = "user"


class Token(Model):
    """`digest` is the SHA-256 of a token; the token itself is never stored. `scopes` is a JSON array."""

    id = IntegerField(primary_key=True)
    user_id = IntegerField(index=True)
    name = TextField(default="")
    digest = TextField(unique=True)
    created_at = TextField()
    last_used_at = TextField(null=True)
    revoked_at = TextField(null=True)
    scopes = TextField(default='["read","submit","admin"]')
    expires_at = TextField(null=True)
    created_by = IntegerField(null=True)

    class Meta:
        table_name = "token"


class ApprovalRule(Model):
    id = IntegerField(primary_key=True)
    name = TextField()
    type = TextField()
    condition = TextField(default="{}")
    threshold = FloatField(null=True)
    enabled = IntegerField(default=1)
    required_approver_level = TextField(default="admin")
    exempt_levels = TextField(default="[]")
    precedence = IntegerField(default=0)

    class Meta:
        table_name = "approval_rule"


class Approval(Model):
    """What was decided on a blocked job, and by whom; kept when the job is not."""

    id = IntegerField(primary_key=True)
    job_id = TextField(unique=True)
    user_id = IntegerField(null=True)
    config_name = TextField(null=True)
    estimated_cost = FloatField(default=0.0)
    status = TextField(default="pending")
    requested_at = TextField()
    reason = TextField(default="")
    rule_id = IntegerField(null=True)
    rule_name = TextField(null=True)
    required_approver_level = TextField(default="admin")
    decided_by = TextField(null=True)
    decided_at = TextField(null=True)
    decision_reason = TextField(null=True)

    class Meta:
        table_name = "approval"


Approval.add_index(Approval.index(Approval.status, Approval.id, name="approval_status"))


class Submitter(Model):
    """A user of whom a job was ever let into the queue, and when the first one was."""

    user_id = IntegerField(primary_key=True)
    first_at = TextField()

    class Meta:
        table_name = "submitter"


class Usage(Model):
    """Sums of ended attempts: a UTC day, user, team ('' for none) and place (local, worker, cloud)."""

    day = TextField()
    user_id = IntegerField()
    team_id = TextField(default="")
    place = TextField()
    runs = IntegerField(default=0)
    run_ms = IntegerField(default=0)
    gpu_ms = IntegerField(default=0)

    class Meta:
        table_name = "usage"
        primary_key = CompositeKey("day", "user_id", "team_id", "place")
        without_rowid = True


class CloudProvider(Model):
    """Whether a cloud provider may take jobs, and its circuit (`model.cloud_circuit`). Times are epoch seconds."""

    name = TextField(primary_key=True)
    enabled = IntegerField(default=1)
    circuit = TextField(default="closed")
    failures = IntegerField(default=0)
    why = TextField(default="")
    opened_at = FloatField(null=True)
    retry_at = FloatField(default=0.0)
    pause = FloatField(default=0.0)

    class Meta:
        table_name = "provider"


class Worker(Model):
    """A worker as it is stored (`model/fleet/record.py`). Times are epoch seconds."""

    id = TextField(primary_key=True)
    name = TextField(unique=True)
    order = IntegerField()
    created_at = FloatField()
    ephemeral = IntegerField(default=0)
    labels = TextField(default="{}")
    keys = TextField(default="[]")
    drained = IntegerField(default=0)
    spent = IntegerField(default=0)
    incarnation = TextField(default="")
    journal = TextField(default="")
    life = IntegerField(default=0)
    stranded = TextField(default="[]")
    clones = TextField(default="[]")
    connected_at = FloatField(null=True)
    heard_at = FloatField(null=True)
    offline_since = FloatField(null=True)

    class Meta:
        table_name = "worker"


class Webhook(Model):
    """Where people want to be told of jobs (`model/webhooks/records.py`); the signing secret is in a file."""

    id = TextField(primary_key=True)
    owner = IntegerField()
    url = TextField()
    events = TextField(default="[]")
    scope = TextField(default="own")
    cursor = IntegerField(default=0)
    created_at = FloatField()
    created_by = TextField(default="")
    enabled = IntegerField(default=1)
    why = TextField(default="")
    failing_since = FloatField(null=True)
    delivered_at = FloatField(null=True)

    class Meta:
        table_name = "webhook"
        without_rowid = True


class WebhookDelivery(Model):
    """A message to a webhook that waits to be taken, or one of the last that ended."""

    id = TextField(primary_key=True)
    webhook_id = TextField()
    event_id = IntegerField()
    type = TextField()
    body = TextField()
    created_at = FloatField()
    next_at = FloatField()
    state = TextField(default="pending")
    attempts = IntegerField(default=0)
    ended_at = FloatField(null=True)
    status = IntegerField(null=True)
    why = TextField(default="")

    class Meta:
        table_name = "webhook_delivery"
        without_rowid = True


class Audit(Model):
    """What was done that is no job's event: append-only, and no cleanup touches it."""

    id = AutoField()
    at = TextField(index=True)
    action = TextField()
    user_id = IntegerField(null=True)
    username = TextField(default="")
    token_id = IntegerField(null=True)
    address = TextField(default="")
    subject = TextField(default="")
    detail = TextField(default="{}")
    cause = TextField(default="")

    class Meta:
        table_name = "audit"


ALL: Final[tuple[type[Model], ...]] = (
    Queue, Spec, Attempt, GpuHold, Event, Idempotency, Setting, Team, User, Token, ApprovalRule, Approval,
    Submitter, Usage, CloudProvider, Worker, Webhook, WebhookDelivery, Audit,
)  # fmt: skip
