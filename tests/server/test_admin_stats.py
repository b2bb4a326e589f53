from __future__ import annotations

import json

from rangecache.blocks.base import TierStats
from rangecache.server.health import ServerState
from rangecache.server.stats import MemoryUse, stats
from rangecache.telemetry import Metrics

MEMORY = TierStats("memory", "rw", blocks=3, bytes=300, limit_bytes=1000, evictions=7)


class StoppedClock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError("nothing here waits")


class OneTier:
    def stats(self) -> TierStats:
        return MEMORY


def measured() -> Metrics:
    metrics = Metrics()
    for outcome, count in {"hit": 6, "stale": 1, "miss": 2, "revalidated": 1}.items():
        metrics.requests.cell("web", "GET", "206", outcome).value += count
    metrics.requests.cell("web", "GET", "404", "none").value += 5
    metrics.served_bytes.cell("web", "memory").value += 600
    metrics.served_bytes.cell("s3", "memory").value += 150
    metrics.served_bytes.cell("web", "origin").value += 250
    metrics.origin_requests.cell("web", "demand", "ok").value += 2
    metrics.origin_requests.cell("web", "demand", "error").value += 1
    metrics.origin_requests.cell("web", "retry", "ok").value += 1
    metrics.origin_bytes.cell("web", "demand").value += 250
    metrics.connections.watch(lambda: [((), 4)])
    metrics.retry_budget_tokens.watch(lambda: [((), 98.5)])
    return metrics


def test_every_figure_comes_from_the_metrics() -> None:
    document = stats(measured(), [MEMORY], {"hand_off": MemoryUse(3, 7)}, flights=2, uptime_s=12.34567, phase="ready")
    assert document["requests"] == {
        "total": 15, "hit": 6, "partial": 0, "miss": 2, "stale": 1, "revalidated": 1, "bypass": 0,
    }  # fmt: skip
    assert document["hit_ratio"] == 0.7  # errors are in no ratio
    assert document["served_bytes"] == {"total": 1000, "memory": 750, "disk": 0, "shared": 0, "origin": 250}
    assert document["byte_hit_ratio"] == 0.75
    origin = document["origin"]
    assert isinstance(origin, dict)
    assert origin["requests"]["total"] == 4
    assert (origin["requests"]["demand"], origin["requests"]["retry"], origin["requests"]["prefetch"]) == (3, 1, 0)
    assert origin["bytes"]["total"] == 250
    assert document["tiers"] == [
        {
            "name": "memory", "state": "rw", "blocks": 3, "bytes": 300, "limit_bytes": 1000, "evictions": 7,
            "checksum_errors": 0, "writes_dropped": 0,
        }
    ]  # fmt: skip
    assert (document["flights"], document["connections"], document["retry_budget_tokens"]) == (2, 4, 98.5)
    assert document["uptime_s"] == 12.346
    assert document["memory"] == {"hand_off": {"bytes": 3, "limit_bytes": 7}}


def test_nothing_measured_is_null_and_not_a_division_by_zero() -> None:
    document = stats(Metrics(), [], {}, flights=0, uptime_s=0, phase="starting")
    assert document["hit_ratio"] is None
    assert document["byte_hit_ratio"] is None
    assert document["connections"] is None
    assert json.loads(json.dumps(document)) == document


def test_uptime_runs_from_the_making_of_the_state() -> None:
    clock = StoppedClock()
    state = ServerState(Metrics(), clock, tiers=[OneTier()], flights=lambda: 9)
    clock.now_s += 42
    document = state.stats()
    assert (document["uptime_s"], document["flights"], document["phase"]) == (42, 9, "starting")
    assert [tier["name"] for tier in document["tiers"]] == ["memory"]  # type: ignore[attr-defined]
