"""Random ranges of 16 KiB; memory of one's own holds a sixteenth of the object, the rest is in the page cache."""

from __future__ import annotations

from bench.figures import BEST, Goal
from bench.warm import Warm

SCENARIO = Warm(
    title="warm on disk (memory tier too small), 16 KiB random ranges",
    order=14,
    range_bytes=16 << 10,
    tier="disk",
    goals=(Goal("warm", "cpu_us_per_request", 1.0, against=BEST),),
)
