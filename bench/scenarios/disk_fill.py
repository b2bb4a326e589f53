"""The disk tier is filled: bytes a second, blocks dropped, CPU a GB."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.disk_tier import EMPTY, FULL, RATES
from bench.figures import US, Goal, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Stage

_AT_RATE, _AS_FAST = RATES
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class DiskFill:
    """In a process of its own, without the rest of the program."""

    title: str = "filling the disk tier"
    order: int = 40
    goals: Sequence[Goal] = (
        Goal(
            f"{_AS_FAST}, {EMPTY}", "gb_per_s", 0.6, at_least=True, title=f"filling the disk tier, {_AS_FAST}, {EMPTY}"
        ),
        Goal(f"{_AS_FAST}, {FULL}", "gb_per_s", 0.6, at_least=True, title=f"filling the disk tier, {_AS_FAST}, {FULL}"),
        Goal(f"{_AT_RATE}, {EMPTY}", "dropped_percent", 1, title=f"filling the disk tier, {_AT_RATE}, {EMPTY}"),
        Goal(f"{_AT_RATE}, {FULL}", "dropped_percent", 1, title=f"filling the disk tier, {_AT_RATE}, {FULL}"),
    )

    def run(self, stage: Stage) -> list[Measured]:
        """On the disk of the temporary folder."""
        size = stage.choose(4096, 512) << 20
        command = [sys.executable, "-m", "bench.disk_tier", "fill", str(stage.scratch("fill")), str(size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S)
        return [Measured(case, US, figures) for case, figures in json.loads(done.stdout).items()]


SCENARIO = DiskFill()
