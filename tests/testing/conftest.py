"""An origin with one object of a hundred bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rangecache.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTENT = bytes(range(100))
MODIFIED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as running:
        running.put("b/k", CONTENT, etag='"v1"', last_modified=MODIFIED)
        yield running
