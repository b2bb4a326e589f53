"""What the proofs at the edge share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.rig import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.edge.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """An origin and the program in front of it, with small blocks and no disk."""
    async with running() as made:
        yield made
