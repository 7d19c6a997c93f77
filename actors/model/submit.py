"""Submit: decide first (idempotency, refusals, placement), then one commit (DESIGN 3, "submit")."""

from __future__ import annotations

import msgspec

from gpuyard.actors.model import explain, gpu_words, place_on_workers, policy, reviews
from gpuyard.actors.model.attempt import is_worker
from gpuyard.actors.model.clouds import DEFAULT_PROVIDER, Clouds
from gpuyard.actors.model.commands import RecallKey, SubmitJob, SubmitJobs
from gpuyard.actors.model.commit import RememberKey, StoredKey
from gpuyard.actors.model.errors import IdempotencyConflict, InvalidInput, NotAllowed, TooManyPending, Unavailable
from gpuyard.actors.model.job import Job, JobSpec, Status, Target
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.place_on_workers import POOLS
from gpuyard.actors.model.priority import ADMIN_ONLY_FROM, HIGHEST
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.reserve import among
from gpuyard.actors.model.shapes import Pool, may_go_to_worker, pool_of
from gpuyard.actors.model.views import JobAccepted, JobRefused
from gpuyard.actors.model.yard import Yard

Answer = JobAccepted | JobRefused
KEY_LIFETIME = 24 * 3600.0
USER_MAX_PENDING = 10_000
# A cluster's accounting, a provider's page of the run: each shows a job's environment to others than its owner.
SECRETS_STAY = (
    "Secrets are handed to runs on the server and its workers only: what is sent to {provider} can be read there by"
    " others. Leave secrets out and use what {provider} has for this itself."
)


def submit_one(yard: Yard, command: SubmitJob, now: Now, out: Outbox) -> Answer:
    """Answer one submit. Raises IdempotencyConflict, NotAllowed, InvalidInput, TooManyPending; then nothing changed."""
    known = _remembered(yard, command.by, command.idempotency_key, command.digest, now)
    if known is not None:
        return _replay(yard, known.job_ids[0], now)
    _check(yard, command)
    if not command.dry_run:
        _check_room(yard, command.by, 1)
    answer = _decide(yard, command, now, out)
    if isinstance(answer, JobAccepted) and answer.job_id is not None:
        _remember(yard, command.by, command.idempotency_key, command.digest, (answer.job_id,), now, out)
    return answer


def submit_many(yard: Yard, command: SubmitJobs, now: Now, out: Outbox) -> list[Answer]:
    """Answer a list in one transaction: an error anywhere changes nothing; refusals stand beside the accepted."""
    known = _remembered(yard, command.by, command.idempotency_key, command.digest, now)
    if known is not None:
        return [_replay(yard, job_id, now) for job_id in known.job_ids]
    for one in command.jobs:
        _check(yard, one)
    _check_room(yard, command.by, sum(not one.dry_run for one in command.jobs))
    answers = [_decide(yard, one, now, out) for one in command.jobs]
    job_ids = tuple(a.job_id for a in answers if isinstance(a, JobAccepted) and a.job_id is not None)
    if job_ids:
        _remember(yard, command.by, command.idempotency_key, command.digest, job_ids, now, out)
    return answers


def recall(yard: Yard, question: RecallKey, now: Now) -> list[JobAccepted] | None:
    """What a known key began, as it stands now. Raises IdempotencyConflict."""
    known = _remembered(yard, question.by, question.key, question.digest, now)
    return None if known is None else [_replay(yard, job_id, now) for job_id in known.job_ids]


def _check(yard: Yard, command: SubmitJob) -> None:
    if command.spec.target is Target.CLOUD and not yard.clouds.known:
        raise Unavailable("the cloud dispatcher is starting: try again shortly")
    override, by = command.priority_override, command.by
    if override is not None:
        check_priority(override, by)
    if command.team_id is not None and command.team_id != by.team_id and not by.is_admin:
        raise NotAllowed(f"team {command.team_id} is not yours: only an admin submits for another team")


def check_priority(value: int, by: Viewer) -> None:
    """Who may set which override: leads 0..39, admins 0..50 (CONTRACT)."""
    if not 0 <= value <= HIGHEST:
        raise InvalidInput(f"priority must be from 0 to {HIGHEST}", field="priority")
    if not by.is_lead:
        raise NotAllowed("only leads and admins may override a priority")
    if value >= ADMIN_ONLY_FROM and not by.is_admin:
        raise NotAllowed(f"priorities from {ADMIN_ONLY_FROM} are for admins")


def _check_room(yard: Yard, by: Viewer, more: int) -> None:
    if by.is_admin:
        return
    waiting = yard.waiting_of(by.user_id)
    if waiting + more > USER_MAX_PENDING:
        raise TooManyPending(f"{waiting} of your jobs wait already, of at most {USER_MAX_PENDING}")


def _decide(yard: Yard, command: SubmitJob, now: Now, out: Outbox) -> Answer:
    refusal = _refusal(yard, command)
    if refusal is not None:
        return refusal
    command = msgspec.structs.replace(command, spec=_priced(yard.clouds, command.spec))
    approval = reviews.asked_for(yard, command, now)
    job = _job(yard, command, approval is not None, now)
    if command.no_wait or command.dry_run:
        reasons = _reasons(yard, job, now) if approval is None else [reviews.waiting(yard, approval, "")]
        if command.no_wait and reasons and not (approval is not None and command.for_approval):
            error = "no_capacity" if approval is None else "approval_required"
            return JobRefused(error=error, reason=reasons[0].text, reasons=reasons)
        if command.dry_run:
            return _prediction(yard, job, reasons, now)
    # Nobody else saw this job's place yet: it is taken only now.
    job.id, yard.next_job = yard.next_job, yard.next_job + 1
    job.seq, job.ranked_at = yard.rank(now)
    if approval is not None:
        job.approval_id = yard.book.file(job.job_id, approval, out)
        yard.watch_approvals()
    yard.admit(job, now, out, command.by)
    if approval is None:
        # It asks for work to start, which lifts a hold: whoever stands before it goes first.
        policy.process(yard, now, out)
    return accepted(yard, job, now, explain.why(yard, job, now))


def _reasons(yard: Yard, job: Job, now: Now) -> list[Reason]:
    """Why a job that is not in the queue yet would not start at once."""
    reasons = list(explain.obstacles(yard, job, now))
    if not reasons and yard.processing_held and pool_of(job) is not Pool.CLOUD:
        return _behind_the_hold(yard, job, now)
    return reasons


def _behind_the_hold(yard: Yard, job: Job, now: Now) -> list[Reason]:
    """While `processing_held` stands: those who wait for the same hosts would start first once it is lifted."""
    anywhere = may_go_to_worker(job) and len(yard.hosts)
    if any(True for pool in (POOLS if anywhere else (pool_of(job),)) for _ in yard.shapes.lanes(pool)):
        position = len(yard.order) + 1
        text = f"{position - 1} waiting jobs start first once the queue is processed."
        return [Reason(code=ReasonCode.PROCESSING_HELD, text=text, unblock="gpuyard queue process")]
    return []


def _refusal(yard: Yard, command: SubmitJob) -> JobRefused | None:
    """Business refusals: what no waiting can cure."""
    spec = command.spec
    if spec.target is Target.CLOUD:
        provider = spec.provider or DEFAULT_PROVIDER
        if spec.secrets:
            return JobRefused(error="secrets_not_kept", reason=SECRETS_STAY.format(provider=provider))
        why = yard.clouds.why_refused(provider)
        if why is not None:
            return JobRefused(
                error="provider_not_configured", reason=f"The cloud provider {provider} takes no jobs: {why}."
            )
        return None
    most = _most_gpus(yard, spec)
    if most is not None and spec.num_processes > most:
        return JobRefused(error="too_big", reason=f"It asks for {gpu_words.asked(spec)}; no host has more than {most}.")
    if pool_of_spec(command) is not Pool.GPU or (spec.target is Target.AUTO and len(yard.hosts)):
        return None
    total = len(yard.ledger.known)
    unknown = [i for i in spec.wanted_devices if all(gpu.index != i for gpu in yard.ledger.known)]
    if len(spec.wanted_devices) - len(unknown) < spec.num_processes and unknown:
        gpu = yard.ledger.with_index(unknown[0])
        there = f"There is no GPU {unknown[0]} on this host (there are {total})"
        if gpu is not None:
            there = f"GPU {unknown[0]} is {gpu_words.trouble(gpu)}"
        return JobRefused(error="unknown_device", reason=f"{there}; --any-gpu takes any.")
    return None


def _most_gpus(yard: Yard, spec: JobSpec) -> int | None:
    """The most GPUs of the memory asked for that one host has, of those where it may run; None when nobody knows."""
    here = len(among(yard.ledger.known, (), spec.gpu_memory))
    if spec.target is Target.LOCAL or (spec.target is Target.AUTO and not len(yard.hosts)):
        return here
    there = yard.hosts.largest(spec.gpu_memory)
    return there if there is None or spec.target is Target.WORKER else max(here, there)


def pool_of_spec(command: SubmitJob) -> Pool:
    """The pool that a submitted spec takes its turn at."""
    target = command.spec.target
    if target is Target.CLOUD:
        return Pool.CLOUD
    if target is Target.WORKER:
        return Pool.WORKER
    return Pool.CPU if command.spec.is_cpu else Pool.GPU


def _job(yard: Yard, command: SubmitJob, blocked: bool, now: Now) -> Job:
    by = command.by
    return Job(
        id=0,
        job_id=yard.new_job_id(),
        user_id=by.user_id,
        team_id=command.team_id if command.team_id is not None else by.team_id,
        spec=command.spec,
        seq=yard.next_seq,
        queued_at=now.wall,
        ranked_at=max(now.wall, yard.last_ranked_at),
        status=Status.BLOCKED if blocked else Status.PENDING,
        priority=int(by.level),
        priority_override=command.priority_override,
        requires_approval=blocked,
        retry_of=command.retry_of,
    )


def _priced(clouds: Clouds, spec: JobSpec) -> JobSpec:
    """A cloud job's spec with its provider and hardware named, and a cost where none was said: rules look at them."""
    if spec.target is not Target.CLOUD:
        return spec
    provider = spec.provider or DEFAULT_PROVIDER
    options = spec.provider_options
    hardware = clouds.prices.default_hardware.get(provider)
    if hardware is not None and "hardware" not in options:
        options = {**options, "hardware": hardware}
    spec = msgspec.structs.replace(spec, provider=provider, provider_options=options)
    return msgspec.structs.replace(spec, estimated_cost=clouds.estimate(spec))


def _prediction(yard: Yard, job: Job, reasons: list[Reason], now: Now) -> JobAccepted:
    place = None if reasons else place_on_workers.place(yard, job, now)
    gpus = place.gpus if place is not None else None
    if not reasons and place is None and pool_of(job) is Pool.GPU:
        gpus = policy.place(yard, job, now)
    status = "blocked" if job.status is Status.BLOCKED else "queued" if reasons else "running"
    return JobAccepted(
        job_id=None,
        status=status,
        allocated_gpus=[gpu.index for gpu in gpus] if gpus is not None else None,
        allocated_worker_id=place.host if place is not None else None,
        queue_position=len(yard.order) + 1 if status == "queued" else None,
        requires_approval=job.requires_approval,
        reason=reasons[0].text if reasons else None,
        reasons=reasons,
        estimated_cost=job.spec.estimated_cost,
    )


def accepted(yard: Yard, job: Job, now: Now, reasons: list[Reason], *, hit: bool = False) -> JobAccepted:
    """The answer for a job that is in the yard, as it stands now, and why it waits (nothing if it does not)."""
    attempt = yard.attempt_of.get(job.job_id)
    return JobAccepted(
        job_id=job.job_id,
        status="queued" if job.status is Status.PENDING else str(job.status),
        allocated_gpus=[gpu.index for gpu in attempt.gpus] if attempt is not None else None,
        allocated_worker_id=attempt.host if attempt is not None and is_worker(attempt.host) else None,
        queue_position=yard.position(job, now),
        requires_approval=job.requires_approval,
        approval_id=job.approval_id,
        reason=reasons[0].text if reasons else None,
        reasons=reasons,
        idempotent_hit=hit,
        estimated_cost=job.spec.estimated_cost,
    )


def _replay(yard: Yard, job_id: str, now: Now) -> JobAccepted:
    job = yard.jobs.get(job_id)
    if job is None:
        return JobAccepted(job_id=job_id, status=None, idempotent_hit=True)
    return accepted(yard, job, now, explain.why(yard, job, now), hit=True)


def _remembered(yard: Yard, by: Viewer, key: str | None, digest: str, now: Now) -> StoredKey | None:
    known = yard.keys.get((by.user_id, key)) if key is not None else None
    if known is None or now.wall - known.at > KEY_LIFETIME:
        return None
    if known.digest != digest:
        raise IdempotencyConflict("this Idempotency-Key was used with another body within the last 24 h")
    return known


def _remember(
    yard: Yard, by: Viewer, key: str | None, digest: str, job_ids: tuple[str, ...], now: Now, out: Outbox
) -> None:
    if key is None:
        return
    yard.keys[by.user_id, key] = StoredKey(by.user_id, key, digest, job_ids, now.wall)
    out.row(RememberKey(by.user_id, key, digest, job_ids, now.wall))
