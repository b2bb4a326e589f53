"""Random ranges of 16 KiB from memory."""

from __future__ import annotations

from bench.figures import BEST, Goal
from bench.warm import Warm

SCENARIO = Warm(
    title="warm in memory, 16 KiB random ranges",
    order=10,
    range_bytes=16 << 10,
    goals=(Goal("warm", "cpu_us_per_request", 0.80, against=BEST),),
)
