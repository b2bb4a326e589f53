"""The figures of `/v1/stats`, computed from the metrics. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rangecache.blocks.base import TierStats
    from rangecache.telemetry import Counter, Gauge, Metrics

OUTCOMES: Final = ("hit", "partial", "miss", "stale", "revalidated", "bypass")
"""The `cache` label of answers about objects; refusals and errors carry others and are in no ratio."""
SOURCES: Final = ("memory", "disk", "shared", "origin")
PURPOSES: Final = ("demand", "prefetch", "revalidate", "warm", "list", "retry", "hedge", "failover")


class MemoryUse(NamedTuple):
    """What one place of the program holds."""

    bytes: int
    limit_bytes: int
    """What it holds at most; where each connection may always have a little, that comes on top."""


def stats(
    metrics: Metrics,
    tiers: Sequence[TierStats],
    memory: Mapping[str, MemoryUse],
    *,
    flights: int,
    uptime_s: float,
    phase: str,
) -> dict[str, object]:
    """One document with every figure a person asks for first. Counts are since start; keys are always all there, so
    that a reader need not ask twice. `null` stands where a ratio or gauge has nothing to go by."""
    outcomes = _totals(metrics.requests, "cache", OUTCOMES)
    served = _totals(metrics.served_bytes, "source", SOURCES)
    return {
        "version": __version__,
        "phase": phase,
        "uptime_s": round(uptime_s, 3),
        "requests": {"total": int(metrics.requests.total()), **outcomes},
        "hit_ratio": _ratio(outcomes["hit"] + outcomes["stale"], sum(outcomes.values())),
        "served_bytes": {"total": sum(served.values()), **served},
        "byte_hit_ratio": _ratio(sum(served.values()) - served["origin"], sum(served.values())),
        "origin": {
            "requests": _with_total(_totals(metrics.origin_requests, "purpose", PURPOSES)),
            "bytes": _with_total(_totals(metrics.origin_bytes, "purpose", PURPOSES)),
        },
        "tiers": [asdict(tier) for tier in tiers],
        "memory": {place: use._asdict() for place, use in memory.items()},
        "flights": flights,
        "coalesced": int(metrics.coalesced.total()),
        "version_conflicts": int(metrics.version_conflicts.total()),
        "connections": _reading(metrics.connections),
        "retry_budget_tokens": _reading(metrics.retry_budget_tokens),
    }


def _totals(counter: Counter, label: str, values: Iterable[str]) -> dict[str, int]:
    return {value: int(counter.total(**{label: value})) for value in values}


def _with_total(parts: dict[str, int]) -> dict[str, int]:
    return {"total": sum(parts.values()), **parts}


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _reading(gauge: Gauge) -> float | None:
    numbers = [number for _, number in gauge.samples()]
    return round(sum(numbers), 3) if numbers else None
