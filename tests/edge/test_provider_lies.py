"""The lies of test_lying_origins, told by the services of S3, Azure and Google Cloud Storage about an object that is
known. Those that take their time are the data path's alone, and are told there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from rangecache.testing.faults import Drip, Stall
from tests.dressed import BUCKET, Dressed, DressedOrigin
from tests.edge.lies import LIES, Lie
from tests.edge.rig import HurriedClock, running
from tests.edge.test_lying_origins import (
    ATTEMPTS,
    DATA,
    FIRST,
    HURRY,
    LAST,
    RUN_BYTES,
    assert_nothing_wrong_was_kept,
    outcome,
)

if TYPE_CHECKING:
    from pathlib import Path

QUICK: Final = [each for each in LIES if not any(isinstance(fault, Drip | Stall) for fault in each.faults)]


@pytest.mark.parametrize("lie", QUICK, ids=str)
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
async def test_a_service_that_lies(kind: str, lie: Lie, tmp_path: Path) -> None:
    clock = HurriedClock(HURRY)
    dressed = Dressed(kind, tmp_path / "token")
    fetch = {"max_request": RUN_BYTES, "attempts": ATTEMPTS, "first_byte_timeout": "30s"}
    async with running(
        clock=clock,
        origin=DressedOrigin(kind, clock=clock),
        provider=dressed.provider,
        bucket_name=BUCKET,
        fetch=fetch,
    ) as rig:
        rig.origin.put(f"{dressed.folder}k", DATA)
        assert await outcome(rig, 0, 99) == "right"
        rig.origin.log.clear()
        rig.origin.fail(None, *lie.faults, times=None)
        assert await outcome(rig, FIRST, LAST) == lie.warm
        assert len(rig.asked()) == lie.asked[1]
        rig.origin.heal()
        assert await outcome(rig, 0, 99) == "right"
        await assert_nothing_wrong_was_kept(rig)
