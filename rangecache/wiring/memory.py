"""Where memory goes: every place of the program that holds bytes, and its bound.

Nobody allocates here and nobody asks here for leave: each room keeps its own bound (why, is told in
docs/architecture.md), and this is the one place that knows them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.origin.session import BUFFERED_BYTES
from rangecache.server.stats import MemoryUse
from rangecache.wiring.origins import PERMITS

if TYPE_CHECKING:
    from rangecache.wiring.program import Program


def memory_use(program: Program) -> dict[str, MemoryUse]:
    """What is held now, by place.

    A block is in one of the first three places or in several: what is held for readers or is being sent is mostly
    resident too, and is counted again because it stays when the tier evicts it.
    """
    resident = program.memory.stats()
    origins, fetcher, port, disk = program.origins, program.fetcher, program.port, program.disk
    open_answers = PERMITS * len(origins.stores)
    return {
        "resident": MemoryUse(resident.bytes, resident.limit_bytes),
        "in_flight": MemoryUse(fetcher.under_way.landing_bytes, open_answers * program.settings.cache.block_size),
        "held_for_readers": MemoryUse(fetcher.under_way.held_bytes, fetcher.under_way.ahead_bytes),
        "prefetched": MemoryUse(fetcher.under_way.coming_bytes, fetcher.under_way.ahead_bytes),
        "origin_buffers": MemoryUse(origins.buffered_bytes, open_answers * BUFFERED_BYTES),
        "hand_off": MemoryUse(program.passing.used_bytes, program.passing.limit_bytes),
        "disk_queue": MemoryUse(*(0, 0) if disk is None else disk.queued),
        "send_buffers": MemoryUse(port.budget.used_bytes, port.budget.limit_bytes),
        "requests": MemoryUse(port.heads.used_bytes, port.heads.limit_bytes),
        "listings": MemoryUse(program.listings.held_bytes, program.listings.limit_bytes),
        "catalog": MemoryUse(program.catalog.held_bytes, program.catalog.limit_bytes),
    }
