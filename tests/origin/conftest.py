"""An origin that can lie, and the data path towards it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rangecache.aio.budget import RetryBudget
from rangecache.model import ObjectRef
from rangecache.origin.observe import Observed, count_detours
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.retry import Retrying
from rangecache.origin.session import WebSession
from rangecache.origin.web import MinRate, WebStore
from rangecache.telemetry import Metrics
from rangecache.testing.clock import ManualClock
from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = bytes(range(100))
REF = ObjectRef("web", "bucket", "object")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Serves `object`, 100 bytes, each of which is its own offset."""
    async with Origin() as origin:
        origin.put("object", BODY, etag='"v1"')
        yield origin


@pytest.fixture
async def session() -> AsyncIterator[WebSession]:
    session = WebSession(connect_timeout_s=5)
    yield session
    await session.aclose()


@pytest.fixture
def dialect(origin: Origin) -> HttpDialect:
    dialect = HttpDialect()
    dialect.add_bucket("bucket", origin.url)
    return dialect


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def store(session: WebSession, dialect: HttpDialect, clock: ManualClock, metrics: Metrics) -> WebStore:
    return WebStore(
        session,
        dialect,
        clock=clock,
        first_byte_timeout_s=30,
        min_rate=MinRate(bytes=16 * 1024, over_s=10),
        on_detour=count_detours(metrics, "web"),
    )


@pytest.fixture
def budget(clock: ManualClock) -> RetryBudget:
    return RetryBudget(ratio=0.1, min_per_second=0, burst=100, clock=clock)


@pytest.fixture
def retrying(store: WebStore, metrics: Metrics, budget: RetryBudget, clock: ManualClock) -> Retrying:
    """As the program wraps a store; pauses take no time."""
    observed = Observed(store, metrics, clock, "web")
    return Retrying(observed, budget=budget, clock=clock, attempts=3, random=lambda: 0.0)


@pytest.fixture
def aws_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without AWS credentials and without ways to find some."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch
