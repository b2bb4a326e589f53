"""What load generators print."""

from __future__ import annotations

import json

import pytest

from bench.clients import crowd
from bench.load import LoadFailed, parse
from rangecache.testing.origin import Origin

PRINTED = """Running 1s test @ http://127.0.0.1:8080
  1 threads and 16 connections
  16234 requests in 1.00s, 260.00MB read
Requests/sec:  16218.11
"""
FIGURES = {
    "requests": 100, "seconds": 1.0, "bytes": 101_000, "failed": 0, "p50_ms": 0.4, "p99_ms": 1.5, "p999_ms": 2.5,
}  # fmt: skip


def test_the_line_of_json_is_found_in_what_wrk_says() -> None:
    loaded = parse(PRINTED + json.dumps(FIGURES) + "\n", 1000)
    assert (loaded.requests, loaded.p99_ms) == (100, 1.5)


def test_answers_that_failed_or_are_too_short_are_no_figures() -> None:
    with pytest.raises(LoadFailed, match="3 of 100 requests failed"):
        parse(json.dumps(FIGURES | {"failed": 3}), 1000)
    with pytest.raises(LoadFailed, match="1010 bytes a request where 1024 were asked for"):
        parse(json.dumps(FIGURES), 1024)
    with pytest.raises(LoadFailed, match="no figures"):
        parse(PRINTED, 1000)


async def test_the_clients_for_machines_without_wrk_tell_the_same() -> None:
    async with Origin() as origin:
        origin.put("data/object", bytes(100_000))
        told = parse(await crowd(f"{origin.url}data/object", 100_000, 1000, seed=1, clients=3, seconds=1), 1000)
        assert told.requests == len(origin.requests) > 3
        assert {each.status for each in origin.requests} == {206}
        assert 0 < told.p50_ms <= told.p99_ms <= told.p999_ms
