"""DuckDB queries a Parquet file: directly, with its own file cache, and through proxies."""

from __future__ import annotations

from bench.reading import Reading

SCENARIO = Reading(
    title="DuckDB, three queries over Parquet",
    order=34,
    readers={"duckdb": "DuckDB"},
    latencies_ms=(10, 50),
)
