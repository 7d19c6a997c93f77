"""The OpenAPI document tells the truth: examples fit the answers' types, every route is described."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gpuyard.actors.base import Directory
from gpuyard.actors.model import limits, views
from gpuyard.actors.model.approvals import ApprovalRule
from gpuyard.api import (
    answers,
    answers_charts,
    answers_cloud,
    answers_people,
    answers_rules,
    answers_usage,
    answers_webhooks,
    answers_workers,
)
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.documents import SHOWN
from gpuyard.api.examples import EXAMPLES
from gpuyard.api.settings import Settings

KINDS = {kind.__name__: kind for kind in SHOWN}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(LocalCore(Directory()), Settings()).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(verb, path, about) for path, verbs in document["paths"].items() for verb, about in verbs.items()]


def test_operation_ids_are_unique_and_every_route_has_a_sentence(document: dict[str, Any]) -> None:
    found = operations(document)
    ids = [about["operationId"] for _, _, about in found]
    assert len(set(ids)) == len(ids)
    assert [path for _, path, about in found if not about.get("description")] == []


def test_every_json_route_has_an_example_and_a_schema(document: dict[str, Any]) -> None:
    for verb, path, about in operations(document):
        if not path.startswith("/api") or path.endswith("/stream") or path == "/api/events":
            continue
        content = about["responses"]["200"]["content"]["application/json"]
        assert content["example"], (verb, path)
        assert "$ref" in str(content["schema"]), (verb, path)


def test_a_route_that_gives_tables_says_so(document: dict[str, Any]) -> None:
    tables = [
        path
        for _, path, about in operations(document)
        if "text/csv" in about["responses"].get("200", {}).get("content", {})
    ]
    asked = [
        path
        for _, path, about in operations(document)
        if any("csv" in one["schema"].get("enum", ()) for one in about.get("parameters", ()))
    ]
    assert sorted(tables) == sorted(asked) == ["/api/audit", "/api/usage"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                assert value["$ref"].removeprefix("#/components/schemas/") in schemas
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)


def test_the_second_name_has_the_same_routes(document: dict[str, Any]) -> None:
    first = {path.removeprefix("/api/jobs") for path in document["paths"] if path.startswith("/api/jobs")}
    second = {path.removeprefix("/api/cloud/jobs") for path in document["paths"] if path.startswith("/api/cloud/jobs")}
    assert first == second - {"/submit"}


def test_stats_are_whole() -> None:
    fields = set(views.Stats.__struct_fields__) - {"limits"} | set(limits.Limits.__struct_fields__)
    assert set(answers.QueueStats.__struct_fields__) == fields


ANSWERS: dict[str, type[msgspec.Struct]] = {
    "list_queue": answers.QueueList,
    "queue_stats": answers.QueueStats,
    "my_queue": views.MyQueue,
    "user_queue": views.MyQueue,
    "queue_position": answers.Position,
    "submit_job": answers.Submitted,
    "submit_cloud_job": answers.Submitted,
    "cancel_waiting_job": answers.Changed,
    "approve_job": answers.Changed,
    "reject_job": answers.Changed,
    "set_priority": answers.Reprioritised,
    "hold_job": answers.Changed,
    "release_job": answers.Changed,
    "get_limits": limits.Limits,
    "set_limits": answers.LimitsSet,
    "process_queue": answers.Processed,
    "pause_queue": answers.Pauses,
    "resume_queue": answers.Pauses,
    "clean_up_queue": answers.CleanedUp,
    "list_jobs": answers.JobList,
    "get_job": answers.OneJob,
    "cancel_job": answers.Changed,
    "cancel_jobs": answers.BulkCancelled,
    "retry_job": answers.Submitted,
    "delete_job": answers.Removed,
    "read_log": answers.Logs,
    "job_progress": answers.JobProgress,
    "job_events": answers.Story,
    "list_configs": answers.ConfigList,
    "get_config": answers.OneConfig,
    "validate_config": answers.Validated,
    "system_status": answers.SystemStatus,
    "exclude_gpu": answers.GpuAside,
    "include_gpu": answers.GpuAside,
    "list_workers": answers_workers.WorkerList,
    "get_worker": views.WorkerView,
    "add_worker": answers_workers.WorkerToken,
    "drain_worker": views.WorkerView,
    "undrain_worker": views.WorkerView,
    "stop_orphan": answers_workers.OrphanStopping,
    "rotate_worker_token": answers_workers.WorkerToken,
    "delete_worker": answers_workers.WorkerGone,
    "clear_gpu": answers.GpuAside,
    "list_users": answers_people.UserList,
    "add_user": answers_people.UserCreated,
    "change_user": views.UserView,
    "remove_user": answers_people.UserGone,
    "who_am_i": answers_people.Me,
    "list_teams": answers_people.TeamList,
    "add_team": views.TeamView,
    "change_team": views.TeamView,
    "remove_team": answers_people.TeamGone,
    "list_tokens": answers_people.TokenList,
    "create_token": answers_people.TokenCreated,
    "list_webhooks": answers_webhooks.WebhookList,
    "add_webhook": answers_webhooks.WebhookCreated,
    "change_webhook": views.WebhookView,
    "remove_webhook": views.WebhookView,
    "test_webhook": views.WebhookTested,
    "list_deliveries": answers_webhooks.DeliveryList,
    "list_secrets": answers_people.SecretList,
    "set_secret": views.SecretView,
    "delete_secret": views.SecretView,
    "revoke_token": views.TokenView,
    "read_audit": answers_people.AuditList,
    "log_in": answers_people.LoggedIn,
    "log_in_by_token": answers_people.LoggedIn,
    "log_out": answers_people.Done,
    "set_password": answers_people.Done,
    "list_providers": answers_cloud.ProviderList,
    "test_provider": answers_cloud.ProviderTest,
    "set_provider": views.ProviderView,
    "cloud_cost": answers_cloud.CostList,
    "hear_webhook": answers_cloud.WebhookHeard,
    "queue_history": answers_charts.QueueHistory,
    "gpu_history": answers_charts.GpuHistory,
    "gpu_timeline": answers_charts.Timeline,
    "queue_waits": answers_charts.Waits,
    "list_approvals": answers_rules.ApprovalList,
    "approve": answers.Changed,
    "reject": answers.Changed,
    "list_rules": answers_rules.RuleList,
    "add_rule": ApprovalRule,
    "get_rule": ApprovalRule,
    "change_rule": ApprovalRule,
    "remove_rule": answers_rules.RuleGone,
    "try_rule": answers_rules.RuleTried,
    "get_usage": answers_usage.UsageReport,
}


def test_each_example_has_a_type_here() -> None:
    assert set(EXAMPLES) == set(ANSWERS)


@pytest.mark.parametrize("operation", sorted(EXAMPLES))
def test_an_example_is_an_answer(operation: str) -> None:
    kind = ANSWERS[operation]
    fields = set(kind.__struct_fields__)
    assert set(EXAMPLES[operation]) == fields
    tag = {"type": kind.__struct_config__.tag} if kind.__struct_config__.tag else {}
    msgspec.convert(_tagged(EXAMPLES[operation]) | tag, kind)


def _tagged(example: Any) -> Any:
    """The tags that views carry on a link, put back: public answers have none."""
    if isinstance(example, list):
        return [_tagged(item) for item in example]
    if not isinstance(example, dict):
        return example
    found = {key: _tagged(value) for key, value in example.items()}
    for kind in (
        views.AttemptView,
        views.LocalStats,
        views.WorkersStats,
        answers.JobWithStory,
        answers.Job,
        views.Entry,
        views.UserView,
        views.TeamView,
        views.TokenView,
        views.AuditEntry,
    ):
        if set(kind.__struct_fields__) == set(found):
            return found | {"type": kind.__struct_config__.tag}
    return found
