"""Random ranges of 8 MiB from memory."""

from __future__ import annotations

from bench.figures import BEST, Goal
from bench.warm import Warm

SCENARIO = Warm(
    title="warm in memory, 8 MiB random ranges",
    order=13,
    range_bytes=8 << 20,
    goals=(Goal("warm", "cpu_us_per_request", 1.0, against=BEST),),
)
