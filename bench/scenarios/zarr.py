"""zarr-python reads slices of a sharded array: directly, with fsspec's block cache, and through proxies."""

from __future__ import annotations

from bench.figures import Goal
from bench.reading import COLD, Reading

SCENARIO = Reading(
    title="Zarr, slices of shards",
    order=33,
    readers={"zarr": "Zarr"},
    latencies_ms=(10, 50),
    goals=[Goal(f"Zarr, 50 ms, {COLD}", "origin_of_distinct", 1.2)],
)
