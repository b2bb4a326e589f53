from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from rangecache.blocks.disk_files import BlockFiles
from tests.blocks.conftest import content
from tests.blocks.killed_writer import BLOCKS, key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rangecache.blocks.disk import DiskTier

    OpenTier = Callable[..., Awaitable[DiskTier]]

KILLS = 30


def kill_one_writer(forker: subprocess.Popen[str], delay_s: float) -> None:
    """Start a writer, let it write for a while, kill it, and wait until it is gone."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write("\n")
    forker.stdin.flush()
    said = {forker.stdout.readline().strip(), forker.stdout.readline().strip()}
    said.discard("writing rw")
    (pid,) = said
    time.sleep(delay_s)  # the point in the middle of its work at which it dies; nothing is waited for
    os.kill(int(pid), signal.SIGKILL)
    assert forker.stdout.readline() == "ended\n"


async def test_after_a_kill_at_any_point_every_block_is_right_or_missing(open_tier: OpenTier, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    chance = random.Random(7)
    leftovers = served = 0
    with subprocess.Popen(
        [sys.executable, "-m", "tests.blocks.killed_writer", str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forker:
        for _ in range(KILLS):
            kill_one_writer(forker, chance.uniform(0, 0.05))
            leftovers += len(list((cache / "blocks-1").glob("*/tmp-*")))
            tier = await open_tier()
            assert tier.owned
            assert list((cache / "blocks-1").glob("*/tmp-*")) == []
            for index in range(BLOCKS):
                found = await tier.get(key_of(index))
                assert found is None or found == content(key_of(index))
                served += found is not None
            # Renamed only when whole: a killed program leaves nothing that fails its check.
            assert tier.stats().checksum_errors == 0
            await tier.aclose()
        assert forker.stdin is not None
        forker.stdin.close()
    assert served > KILLS
    assert leftovers > 0, "no kill met a writer in the middle of a file, so nothing was shown"
    assert BlockFiles(str(cache)).shelves()
