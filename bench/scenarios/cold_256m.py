"""A cold object of 256 MiB, 30 ms away, from an origin that gives a connection 100 MB/s, as clouds do."""

from __future__ import annotations

from bench.cold import CASE, Cold
from bench.figures import DIRECT, OBSTORE, Goal

SCENARIO = Cold(
    title="cold 256 MiB, origin 30 ms away, 100 MB/s a connection",
    order=21,
    object_mib=256,
    quick_mib=64,
    full_rounds=2,
    bandwidth_bytes_per_s=100e6,
    goals=(
        Goal(CASE, "mb_per_s", 5, against=DIRECT, at_least=True),
        Goal(CASE, "mb_per_s", 0.9, against=OBSTORE, at_least=True),
    ),
)
