"""A cold object of 64 MiB, 30 ms away, from an origin that gives all that a connection takes."""

from __future__ import annotations

from bench.cold import CASE, Cold
from bench.figures import DIRECT, Goal

SCENARIO = Cold(
    title="cold 64 MiB, origin 30 ms away",
    order=20,
    object_mib=64,
    quick_mib=64,
    goals=(
        Goal(CASE, "seconds", 1.5, against=DIRECT),
        Goal(CASE, "mb_per_s", 10, against="nginx slice", at_least=True),
    ),
)
