"""Random ranges of 64 KiB from memory."""

from __future__ import annotations

from bench.figures import BEST, Goal
from bench.warm import Warm

SCENARIO = Warm(
    title="warm in memory, 64 KiB random ranges",
    order=11,
    range_bytes=64 << 10,
    goals=(Goal("warm", "cpu_us_per_request", 0.80, against=BEST),),
)
