"""From the command to the first 200 of `/readyz`: with an empty cache, and with a million blocks on disk.

And the disk tier alone over the same folder, where it can be seen how long all takes to be known, how long its work
holds the event loop, and what a block takes in memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.disk_tier import WITH, WITHOUT
from bench.figures import US, Goal, Measured
from bench.peers.rangecache import PEER
from bench.programs import ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.origin import OriginProcess
    from bench.stage import Stage

_EMPTY = "empty cache"
_MANY = "10⁶ blocks on disk"
_ALONE = "the disk tier alone"
_TIMEOUT_S = 600
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """The blocks are empty files under the names of blocks."""

    title: str = "start"
    order: int = 50
    goals: Sequence[Goal] = (
        Goal(_EMPTY, "ready_s", 1, title=f"start, {_EMPTY}"),
        Goal(f"{_MANY}, {WITHOUT}", "ready_s", 1, title=f"start, {_MANY}, {WITHOUT}"),
        Goal(f"{_MANY}, {WITH}", "ready_s", 1, title=f"start, {_MANY}, {WITH}"),
    )

    def run(self, stage: Stage) -> list[Measured]:
        """Several starts of each kind but the one that finds no index."""
        folder = stage.many_blocks(stage.choose(1_000_000, 20_000))
        command = [sys.executable, "-m", "bench.disk_tier", "start", str(folder)]
        stage.say("the disk tier alone")
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S)
        alone = [Measured(f"{_ALONE}, {_MANY}, {name}", US, found) for name, found in json.loads(done.stdout).items()]
        with stage.origin(stage.hollow("object", 1 << 20)) as origin:
            empty = [start(stage, origin, stage.scratch("cache")) for _ in range(stage.rounds(3, 1))]
            shutil.rmtree(folder / "index-1")
            first = start(stage, origin, folder)
            later = [start(stage, origin, folder) for _ in range(stage.rounds(3, 1))]
        rows = {_EMPTY: min(empty), f"{_MANY}, {WITHOUT}": first, f"{_MANY}, {WITH}": min(later)}
        return [
            Measured(case, US, {"ready_s": ready_s, "rss_mib": rss_mib}) for case, (ready_s, rss_mib) in rows.items()
        ] + alone


def start(stage: Stage, origin: OriginProcess, cache: Path) -> tuple[float, float]:
    """Seconds until it is ready, and its memory a moment later, in MiB."""
    # Room for all of them: names of blocks count as if the blocks were there.
    disk = {"path": str(cache), "size": "1TiB"}
    peer = replace(PEER, changes={"cache": {"disk": disk}})
    with ExitStack() as stack:
        began_s = time.perf_counter()
        running = stage.start(peer, origin, stack)
        with urllib.request.urlopen(f"{running.admin_url}readyz") as answer:
            if answer.status != 200:
                raise ProgramFailed(f"not ready: {answer.status}")
        ready_s = time.perf_counter() - began_s
        time.sleep(_SETTLE_S)
        return ready_s, running.rss_bytes() / (1 << 20)


SCENARIO = Start()
