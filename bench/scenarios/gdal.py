"""GDAL browses tiles of a COG in no order: directly, with its own caches, and through proxies."""

from __future__ import annotations

from bench.reading import Reading

SCENARIO = Reading(
    title="GDAL, 100 tiles of a COG",
    order=32,
    readers={"jpeg-scattered": "GDAL"},
    latencies_ms=(10, 50),
)
