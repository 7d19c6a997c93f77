"""Approval rules: which submits wait for a person, and who may decide (requirement "Approval Workflow").

Enabled rules are looked at by `precedence`, the smallest first; the first that matches blocks the job and says whose
approval it needs. What a rule looks at is a `Candidate`, so that it can be tried on jobs of the past too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from gpuyard.actors.model import labels
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.people import Level

MAX_RULES: Final = 100
MAX_NAME: Final = 100
MAX_PATTERN: Final = 128
APPROVERS: Final = ("lead", "admin")
LEVEL_NAMES: Final = tuple(level.name.lower() for level in Level)


class RuleType(StrEnum):
    """What a rule looks at."""

    COST_EXCEEDS = "cost_exceeds"
    HARDWARE_TYPE = "hardware_type"
    DAILY_JOBS_EXCEED = "daily_jobs_exceed"
    FIRST_JOB = "first_job"
    CONFIG_PATTERN = "config_pattern"
    PROVIDER = "provider"


MEANINGS: Final[dict[RuleType, str]] = {
    RuleType.COST_EXCEEDS: "Its `estimated_cost` is above `threshold` USD.",
    RuleType.HARDWARE_TYPE: "It may get hardware whose name `condition` (a glob) matches, more than `threshold` GPUs of"
    " it where one is set.",
    RuleType.DAILY_JOBS_EXCEED: "It is more than the `threshold`th job that its user submits on a UTC day.",
    RuleType.FIRST_JOB: "No job of its user was ever let into the queue.",
    RuleType.CONFIG_PATTERN: "`condition` (a glob) matches the name of its config, the empty name for a command.",
    RuleType.PROVIDER: "`condition` (a glob) matches its provider: a cloud's name, local or worker.",
}
WITH_PATTERN: Final = frozenset({RuleType.HARDWARE_TYPE, RuleType.CONFIG_PATTERN, RuleType.PROVIDER})
WITH_THRESHOLD: Final = frozenset({RuleType.COST_EXCEEDS, RuleType.DAILY_JOBS_EXCEED})
BOTH: Final = frozenset({RuleType.HARDWARE_TYPE})


class ApprovalRule(msgspec.Struct, frozen=True, kw_only=True):
    """`condition` is a glob, `threshold` a number, each where its type has one (see MEANINGS).

    `exempt_levels` are names of levels whose jobs it leaves alone; `required_approver_level` is lead or admin.
    """

    id: int
    name: str
    type: RuleType
    condition: str = ""
    threshold: float | None = None
    enabled: bool = True
    required_approver_level: str = "admin"
    exempt_levels: tuple[str, ...] = ()
    precedence: int = 0


FIELDS: Final = tuple(name for name in ApprovalRule.__struct_fields__ if name != "id")


class Decision(StrEnum):
    """What has become of an approval; all but `pending` are final. `cancelled`: its job was, before anybody decided."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """That a job waits for a person, and what was decided. Times are epoch seconds; it outlives its job.

    `rule_id` None: the author asked for it (`requires_approval`). Who may decide was settled when it was asked for,
    whatever becomes of the rule.
    """

    id: int
    job_id: str
    user_id: int
    status: Decision = Decision.PENDING
    requested_at: float
    reason: str
    config_name: str | None = None
    estimated_cost: float = 0.0
    rule_id: int | None = None
    rule_name: str | None = None
    required_approver_level: str = "admin"
    decided_by: str | None = None
    decided_at: float | None = None
    decision_reason: str | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules look at. `submitted_today` counts the jobs that its user submitted before it on its UTC day."""

    level: Level
    estimated_cost: float = 0.0
    hardware: tuple[str, ...] = ()
    gpus: int = 1
    submitted_today: int = 0
    first_job: bool = False
    config_name: str | None = None
    provider: str = "local"


def provider_of(target: Target, provider: str | None) -> str:
    """The provider as a rule sees it before the job is placed."""
    if target is Target.CLOUD:
        return provider or "replicate"
    return "worker" if target is Target.WORKER else "local"


def in_order(rules: Iterable[ApprovalRule]) -> list[ApprovalRule]:
    return sorted(rules, key=lambda rule: (rule.precedence, rule.id))


def first_match(rules: Iterable[ApprovalRule], candidate: Candidate) -> tuple[ApprovalRule, str] | None:
    """The rule that blocks `candidate` and why, in words; None when none does."""
    for rule in in_order(rules):
        if rule.enabled and (why := matched(rule, candidate)) is not None:
            return rule, why
    return None


def matched(rule: ApprovalRule, candidate: Candidate) -> str | None:
    """Why `rule` matches, as the end of a sentence; None when it does not. Whether it is enabled is not looked at."""
    if candidate.level.name.lower() in rule.exempt_levels:
        return None
    most = rule.threshold or 0.0
    match rule.type:
        case RuleType.COST_EXCEEDS:
            cost = candidate.estimated_cost
            return f"its estimated cost of ${cost:,.2f} is above ${most:,.2f}" if cost > most else None
        case RuleType.HARDWARE_TYPE:
            return _hardware(rule, candidate)
        case RuleType.DAILY_JOBS_EXCEED:
            number = candidate.submitted_today + 1
            return f"it is job {number} of its user today (UTC), above {most:g}" if number > most else None
        case RuleType.FIRST_JOB:
            return "no job of its user was let into the queue yet" if candidate.first_job else None
        case RuleType.CONFIG_PATTERN:
            name = candidate.config_name or ""
            what = f"its config {name}" if name else "a command without config"
            return f"{what} matches {rule.condition}" if labels.matches(rule.condition, name) else None
        case RuleType.PROVIDER:
            provider = candidate.provider
            return f"its provider {provider} matches {rule.condition}" if _glob(provider, rule.condition) else None


def _hardware(rule: ApprovalRule, candidate: Candidate) -> str | None:
    if rule.threshold is not None and candidate.gpus <= rule.threshold:
        return None
    for name in candidate.hardware:
        # `a100*` finds an "NVIDIA A100-SXM4-40GB": each word may begin the name.
        words = name.split()
        if any(_glob(" ".join(words[start:]), rule.condition) for start in range(len(words))):
            many = f"{candidate.gpus} × " if rule.threshold is not None else ""
            return f"it may get {many}{name}, which {rule.condition} matches"
    return None


def _glob(text: str, pattern: str) -> bool:
    return labels.matches(pattern.lower(), text.lower())


def checked(rule_id: int, values: dict[str, Any]) -> ApprovalRule:
    """A rule of these fields. Raises InvalidInput, naming the first that is wrong."""
    unknown = next((name for name in values if name not in FIELDS), None)
    if unknown is not None:
        raise InvalidInput(f"{unknown}: a rule has no such field", field=unknown)
    for name in ("name", "type"):
        if name not in values:
            raise InvalidInput(f"{name} is missing: a rule needs it", field=name)
    try:
        rule = msgspec.convert({**values, "id": rule_id}, ApprovalRule)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].strip("`").partition("[")[0] if "$." in str(error) else "type"
        raise InvalidInput(f"{field}: {str(error).partition(' - at')[0]}", field=field) from None
    problem = next(_problems(rule), None)
    if problem is not None:
        raise InvalidInput(f"{problem[0]} {problem[1]}", field=problem[0])
    return rule


def _problems(rule: ApprovalRule) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it)."""
    if not rule.name.strip() or len(rule.name) > MAX_NAME or not rule.name.isprintable():
        yield "name", f"must be 1 to {MAX_NAME} printable characters"
    if rule.type in WITH_PATTERN and not rule.condition.strip():
        yield "condition", f"must be a pattern such as *a100*: a rule of type {rule.type} needs it"
    if rule.type not in WITH_PATTERN and rule.condition:
        yield "condition", f"has no meaning in a rule of type {rule.type}"
    if len(rule.condition) > MAX_PATTERN or not rule.condition.isprintable():
        yield "condition", f"must be at most {MAX_PATTERN} printable characters"
    if rule.type in WITH_THRESHOLD and rule.threshold is None:
        yield "threshold", f"must be a number: a rule of type {rule.type} needs it"
    if rule.threshold is not None and rule.type not in WITH_THRESHOLD | BOTH:
        yield "threshold", f"has no meaning in a rule of type {rule.type}"
    if rule.threshold is not None and not 0 <= rule.threshold <= 1e9:
        yield "threshold", "must be from 0 to 1000000000"
    if rule.required_approver_level not in APPROVERS:
        yield "required_approver_level", "must be lead or admin"
    if any(level not in LEVEL_NAMES for level in rule.exempt_levels):
        yield "exempt_levels", f"must be among {', '.join(LEVEL_NAMES)}"
    if not -1_000_000 <= rule.precedence <= 1_000_000:
        yield "precedence", "must be from -1000000 to 1000000"
