"""Views go out without the tag that they carry on a link."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gpuyard.actors.model import views
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.views import Entry, JobRecord, MyQueue, QueuePage
from gpuyard.api.responses import JsonResponse, public
from tests.unit.transport.samples import sample

VIEWS = [
    kind
    for kind in vars(views).values()
    if isinstance(kind, type) and issubclass(kind, views.View) and kind is not views.View
]


def tags(value: Any, place: str = "") -> list[str]:
    """Where a tag of ours is left in plain data."""
    if isinstance(value, dict):
        own = [place] if value.get("type") in {kind.__name__ for kind in [*VIEWS, EventRow]} else []
        return own + [found for key, item in value.items() for found in tags(item, f"{place}.{key}")]
    if isinstance(value, list):
        return [found for item in value for found in tags(item, f"{place}[]")]
    return []


@pytest.mark.parametrize("kind", VIEWS, ids=lambda kind: kind.__name__)
def test_no_view_shows_its_tag_at_any_depth(kind: type[views.View]) -> None:
    value = sample(kind)
    shown = json.loads(JsonResponse(value).body)
    assert not tags(shown)
    assert set(shown) == set(kind.__struct_fields__)


def test_the_test_would_notice_a_tag() -> None:
    assert tags(json.loads(msgspec.json.encode(sample(MyQueue)))) == ["", ".pending_jobs[]", ".running_jobs[]"]


def test_a_field_of_the_user_named_type_stays() -> None:
    entry = msgspec.structs.replace(sample(Entry), metadata={"type": "Entry", "nested": {"type": "MyQueue"}})
    page = QueuePage(entries=[entry], total=1, total_pending=1, total_running=0)
    shown = json.loads(JsonResponse(page).body)
    assert shown["entries"][0]["metadata"] == {"type": "Entry", "nested": {"type": "MyQueue"}}


def test_plain_data_of_views_is_answered_too() -> None:
    record = sample(JobRecord)
    shown = json.loads(JsonResponse({"job": record, "more": [record.entry]}).body)
    assert not tags(shown)
    assert shown["job"]["entry"] == shown["more"][0]


def test_an_unset_field_is_left_out() -> None:
    class Answer(msgspec.Struct):
        there: int
        not_there: int | msgspec.UnsetType = msgspec.UNSET

    assert public(Answer(there=1)) == {"there": 1}
