"""What the cloud routes answer."""

from __future__ import annotations

from gpuyard.actors.model.views import CloudCost, ProviderView
from gpuyard.api.answers import Answer


class ProviderList(Answer, frozen=True, kw_only=True):
    """All known ones, configured or not."""

    providers: list[ProviderView]


class ProviderTest(Answer, frozen=True, kw_only=True):
    """`success`: it answered. `detail` is what it said of itself, or why it did not."""

    success: bool
    name: str
    detail: str
    seconds: float


class CostList(Answer, frozen=True, kw_only=True):
    """`by` says what a line is for; the totals are those of all lines."""

    by: str
    costs: list[CloudCost]
    total_usd: float
    total_jobs: int


class WebhookHeard(Answer, frozen=True, kw_only=True):
    success: bool = True
