"""kill -9, anywhere: what a dead program leaves is right bytes or nothing, within its bounds."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proving import Proof


async def killed_often(directory: Path, kills: int, seed: int) -> dict[str, int]:
    """Run the forker; its counts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.blocks.killed_writer", str(directory), str(kills), str(seed)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    counts: dict[str, int] = json.loads(said.splitlines()[-1])
    return counts


@pytest.mark.parametrize("kills", [2000, pytest.param(10_000, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])])
@pytest.mark.timeout(600)
async def test_after_a_kill_at_any_moment_every_block_is_right_or_missing(
    tmp_path: Path, proof: Proof, kills: int
) -> None:
    counts = await killed_often(tmp_path / "cache", kills, seed=kills)
    proof.row(
        "no kill -9 while blocks are written, evicted, read and purged leaves a wrong byte or breaks a bound",
        f"{counts['kills']:,} kills, {counts['served']:,} blocks read afterwards, 0 wrong".replace(",", " "),
    )
    assert "fault" not in counts
    assert counts["kills"] == kills
    assert counts["served"] > kills // 10
    assert counts["leftovers"] > 0, "no kill met a writer in the middle of a file, so nothing was shown"
