"""The application of the routes' tests."""

from __future__ import annotations

from tests.unit.api_routes.conftest import yard

__all__ = ["yard"]
