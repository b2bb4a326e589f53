"""Lets the gauges read what others keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rangecache.blocks.base import TierStats
    from rangecache.wiring.program import Program


def watch(program: Program) -> None:
    """To be called once, when all rooms are there."""
    metrics = program.metrics

    def tiers() -> Iterable[TierStats]:
        return program.tiers.tier_stats()

    metrics.tier_bytes.watch(lambda: [((each.name,), each.bytes) for each in tiers()])
    metrics.tier_limit_bytes.watch(lambda: [((each.name,), each.limit_bytes) for each in tiers()])
    metrics.tier_blocks.watch(lambda: [((each.name,), each.blocks) for each in tiers()])
    metrics.evictions.watch(lambda: [((each.name,), each.evictions) for each in tiers()])
    metrics.checksum_errors.watch(lambda: [((each.name,), each.checksum_errors) for each in tiers()])
    metrics.connections.watch(lambda: [((), len(program.port.connections))])
    metrics.breaker_open.watch(program.origins.open_breakers)
    metrics.retry_budget_tokens.watch(lambda: [((), program.budget.balance)])
    if program.disk is not None:
        disk = program.disk
        metrics.disk_writes_dropped.watch(lambda: [((), disk.stats().writes_dropped)])
        metrics.disk_open_files.watch(lambda: [((), disk.descriptors[0])])
        metrics.disk_page_cache_reads.watch(lambda: [((), disk.reads_without_thread)])
        metrics.disk_state.watch(
            lambda: [((state,), float(disk.stats().state == state)) for state in ("rw", "ro", "off")]
        )
