"""A cache without sockets: the reader and all behind it, over an origin in memory, with time in the test's hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rangecache.aio.flights import Flights
from rangecache.aio.tasks import Background
from rangecache.blocks.memory import MemoryTier
from rangecache.blocks.tiers import Tiers
from rangecache.model import ObjectRef
from rangecache.origin.memory import MemoryStore
from rangecache.origin.strain import Strain
from rangecache.read.catalog import Catalog
from rangecache.read.fetcher import Fetcher
from rangecache.read.filling import Filler
from rangecache.read.freshness import Grace
from rangecache.read.grids import Grids
from rangecache.read.habits import Habits
from rangecache.read.hand_off import hand_off_allowance
from rangecache.read.messages import ReadRequest, Reply
from rangecache.read.opening import Opener
from rangecache.read.prefetcher import Prefetcher
from rangecache.read.purging import Purger
from rangecache.read.reader import RangeReader
from rangecache.telemetry import Metrics
from rangecache.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rangecache.aio.clock import Clock
    from rangecache.blocks.base import BlockStore
    from rangecache.origin.base import ObjectStore
    from rangecache.read.catalog import CatalogStore
    from rangecache.read.freshness import Ttl

BLOCK = 4096
AHEAD_BYTES = 1024 * BLOCK
REF = ObjectRef("mem", "b", "k")


class Cache:
    """The rooms behind the front door, wired as in the program but with small blocks."""

    def __init__(
        self,
        *,
        ttl: Ttl = 60.0,
        tiers: list[BlockStore] | None = None,
        memory_bytes: int = 64 * 1024 * 1024,
        ahead_bytes: int = AHEAD_BYTES,
        run_blocks: int = 8,
        gap_blocks: int = 1,
        max_window_bytes: int = 0,
        block_bytes: int = BLOCK,
        stale_while_revalidate_s: float = 0.0,
        stale_if_error_s: float = 0.0,
        negative_ttl_s: float = 2.0,
        clock: Clock | None = None,
        origin: MemoryStore | None = None,
        around: Callable[[ObjectStore], ObjectStore] = lambda store: store,
        records: CatalogStore | None = None,
    ) -> None:
        """`around` puts wrappers around the origin; `records` survive this cache."""
        self.clock = clock or ManualClock()
        self.metrics = Metrics()
        self.background = Background()
        self.origin = origin or MemoryStore(chunk_bytes=1024)
        self.tiers = Tiers(tiers or [MemoryTier(memory_bytes)])
        self.ttl: Ttl = ttl
        self.catalog = Catalog(
            self.clock,
            lambda ref: self.ttl,
            block_bytes=block_bytes,
            negative_ttl_s=negative_ttl_s,
            grace=lambda ttl: Grace(stale_while_revalidate_s, stale_if_error_s),
            store=records,
        )
        stores = {"mem": around(self.origin)}
        self.strain = Strain(self.clock, permits=128)
        self.fetcher = Fetcher(
            stores,
            self.tiers,
            self.catalog,
            self.background,
            self.metrics,
            run_bytes=run_blocks * BLOCK,
            gap_blocks=gap_blocks,
            ahead_bytes=ahead_bytes,
            eased=self.strain.eased,
        )
        self.flights: Flights[ObjectRef, object] = Flights(self.background, "opening")
        self.allowance = hand_off_allowance()
        self.grids, self.habits = Grids(block_bytes), Habits()
        self.opener = opener = Opener(
            stores, self.tiers, self.catalog, self.fetcher, self.flights, self.allowance, self.grids, self.habits
        )
        self.filler = Filler(self.catalog, opener, self.fetcher, self.tiers, self.clock)
        self.prefetcher = Prefetcher(
            self.fetcher,
            self.tiers,
            self.catalog,
            self.grids,
            self.habits,
            self.strain,
            self.clock,
            self.metrics,
            max_window_bytes=max_window_bytes,
            memory_bytes=ahead_bytes,
        )
        self.reader = RangeReader(
            stores,
            self.tiers,
            self.catalog,
            self.fetcher,
            opener,
            self.prefetcher,
            self.background,
            self.metrics,
            self.clock,
            self.allowance,
            max_ranges=256,
        )
        memory, *slower = self.tiers
        assert isinstance(memory, MemoryTier)
        self.purger = Purger(
            self.catalog,
            opener,
            self.fetcher,
            self.tiers,
            memory,
            self.background,
            self.clock,
            records=records,  # type: ignore[arg-type]
            disk=slower[0] if slower else None,  # type: ignore[arg-type]
            forgetful=[self.reader],
        )

    async def open(self, range: str | None = None, ref: ObjectRef = REF, **fields: object) -> Reply:
        """Open as the front door does: at once if possible."""
        request = ReadRequest(ref, range=range, **fields)  # type: ignore[arg-type]
        return self.reader.try_open(request) or await self.reader.open(request)

    async def read(self, range: str | None = None, ref: ObjectRef = REF, **fields: object) -> bytes:
        """The body."""
        return await drain(await self.open(range, ref, **fields))

    @property
    def asked(self) -> list[tuple[int, int] | str | None]:
        """The ranges of all requests that reached the origin."""
        shown: list[tuple[int, int] | str | None] = []
        for request in self.origin.requests:
            spec = request.range
            pair = (getattr(spec, "start", None), getattr(spec, "end", None))
            shown.append(None if spec is None else pair if None not in pair else spec.header())
        return shown


async def drain(reply: Reply) -> bytes:
    """All bytes of a reply."""
    if isinstance(reply.body, list | tuple):
        return b"".join(reply.body)
    return b"".join([bytes(piece) async for piece in reply.body])


@pytest.fixture
async def make_cache() -> AsyncIterator[type[Cache]]:
    """A factory of caches that are closed when the test ends, with nothing left behind."""
    made: list[Cache] = []

    class Made(Cache):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)  # type: ignore[arg-type]
            made.append(self)

    yield Made
    for cache in made:
        await cache.background.aclose()
        assert cache.origin.open_bodies == 0
        assert len(cache.fetcher) == 0
        assert cache.fetcher.under_way.held_bytes == 0
        assert cache.allowance.used_bytes == 0


@pytest.fixture
async def cache(make_cache: type[Cache]) -> Cache:
    """A cache with the usual options."""
    return make_cache()
