"""Random ranges of 1 MiB from memory."""

from __future__ import annotations

from bench.figures import BEST, Goal
from bench.warm import Warm

SCENARIO = Warm(
    title="warm in memory, 1 MiB random ranges",
    order=12,
    range_bytes=1 << 20,
    goals=(
        Goal("warm", "cpu_us_per_request", 1.0, against=BEST),
        Goal("warm", "cpu_us_per_request", 0.80, against="nginx slice"),
    ),
)
