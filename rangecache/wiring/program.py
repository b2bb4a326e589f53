"""The running program: every room put together, opened in order and closed in the opposite order."""

from __future__ import annotations

import asyncio
import logging
import platform
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from rangecache import __version__
from rangecache.aio.budget import RetryBudget
from rangecache.aio.flights import Flights
from rangecache.aio.tasks import Background
from rangecache.blocks.disk import DiskTier
from rangecache.blocks.disk_descriptors import descriptor_limit
from rangecache.blocks.memory import MemoryTier
from rangecache.blocks.tiers import Tiers
from rangecache.jobs.record import Recorder
from rangecache.jobs.runner import JobRunner
from rangecache.patterns import PatternSet, first_match
from rangecache.read.catalog import Catalog
from rangecache.read.catalog_store import DiskCatalogStore
from rangecache.read.fetcher import Fetcher
from rangecache.read.filling import Filler
from rangecache.read.freshness import Grace
from rangecache.read.grids import Grids
from rangecache.read.habits import Habits
from rangecache.read.hand_off import hand_off_allowance
from rangecache.read.inventory import Inventory
from rangecache.read.listings import Listings
from rangecache.read.opening import Opener
from rangecache.read.prefetcher import Prefetcher
from rangecache.read.purging import Purger
from rangecache.read.reader import RangeReader
from rangecache.server.accounts import Accounts
from rangecache.server.admin import AdminServer, admin_app, health_app
from rangecache.server.api.jobs import JobRooms, job_routes
from rangecache.server.api.objects import object_routes
from rangecache.server.api.providers import ProviderRooms, provider_routes
from rangecache.server.api.purge import purge_routes
from rangecache.server.directories import Directories
from rangecache.server.health import ServerState
from rangecache.server.hosts import HostGuard
from rangecache.server.listener import FILES_RESERVED, Listener, connection_limit
from rangecache.server.port import DataPort, Limits
from rangecache.server.request import Router
from rangecache.server.response import HeadPrinter
from rangecache.server.sending import SendBudget
from rangecache.server.wire import heads_allowance
from rangecache.settings import TcpAddress
from rangecache.telemetry import Metrics
from rangecache.wiring import gauges
from rangecache.wiring.checkup import Checkups
from rangecache.wiring.disk import disk_wanted
from rangecache.wiring.memory import memory_use
from rangecache.wiring.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aiohttp.web import RouteDef

    from rangecache.aio.clock import Clock
    from rangecache.blocks.base import BlockStore
    from rangecache.jobs.record import NotingReader
    from rangecache.model import BlockKey, ObjectRef
    from rangecache.read.freshness import Ttl
    from rangecache.settings import Address, Settings

logger = logging.getLogger(__name__)


class Program:
    """One proxy. `await start()`, then it serves; `await stop()` drains it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Nothing is opened yet. To be called inside a running event loop."""
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        self.background = Background()
        self.budget = RetryBudget(settings.budget.ratio, settings.budget.min_per_second, settings.budget.burst, clock)
        self.origins = Origins(settings, self.metrics, self.budget, clock)
        self.memory = MemoryTier(settings.cache.memory.size)
        self.disk = _disk_tier(settings, self._favourites, self.memory.wants, clock)
        each: list[BlockStore] = [self.memory] if self.disk is None else [self.memory, self.disk]
        self.tiers = Tiers(each)
        self.records = None if self.disk is None else _catalog_store(self.disk, clock)
        self.catalog = self._make_catalog()
        self.reader = self._make_reader()
        self.listings = Listings(
            self.origins.stores,
            clock,
            self.background,
            life_s=min(settings.defaults.listing_ttl, settings.defaults.negative_ttl),
        )
        self.port = self._make_port()
        self.listener = Listener(self.port)
        self.state = ServerState(
            self.metrics,
            clock,
            tiers=each,
            flights=self.fetcher.__len__,
            memory=partial(memory_use, self),
            settings=settings.redacted,
        )
        self.jobs = JobRunner(clock)
        self.admin = AdminServer(admin_app(self.state, self.guard, self._routes()))
        self.health = AdminServer(health_app(self.state)) if settings.server.health_listen else None
        self.addresses: list[Address] = []
        """Where objects are served, with the ports that were given."""
        gauges.watch(self)

    def _make_catalog(self) -> Catalog:
        rules = self.settings.freshness_rules()

        def rule(ref: ObjectRef) -> Ttl:
            found = first_match(rules, str(ref))
            return 0.0 if found is None else found

        def grace(ttl: Ttl) -> Grace:
            return Grace(self.settings.stale_while_revalidate(ttl), self.settings.defaults.stale_if_error)

        return Catalog(
            self.clock,
            rule,
            block_bytes=self.settings.cache.block_size,
            negative_ttl_s=self.settings.defaults.negative_ttl,
            grace=grace,
            store=self.records,
            vouches_for=self.origins.vouches_for,
        )

    def _make_reader(self) -> RangeReader:
        settings, stores = self.settings, self.origins.stores
        block_bytes = settings.cache.block_size
        # A run that is larger than a good part of the memory tier would be evicted before its reader came to its end.
        run_bytes = min(settings.fetch.max_request, max(block_bytes, settings.cache.memory.size // 8))
        self.grids, self.habits = Grids(block_bytes), Habits()
        self.fetcher = Fetcher(
            stores,
            self.tiers,
            self.catalog,
            self.background,
            self.metrics,
            run_bytes=run_bytes,
            gap_blocks=settings.fetch.gap,
            ahead_bytes=settings.fetch.prefetch.memory,
            promote=self.origins.promote,
            eased=self.origins.strain.eased,
        )
        self.passing = hand_off_allowance()
        self.prefetcher = self._make_prefetcher()
        self.opener = Opener(
            stores,
            self.tiers,
            self.catalog,
            self.fetcher,
            Flights(self.background, "opening"),
            self.passing,
            self.grids,
            self.habits,
        )
        self.filler = Filler(self.catalog, self.opener, self.fetcher, self.tiers, self.clock)
        return RangeReader(
            self.origins.for_one_client(),
            self.tiers,
            self.catalog,
            self.fetcher,
            self.opener,
            self.prefetcher,
            self.background,
            self.metrics,
            self.clock,
            self.passing,
            max_ranges=settings.server.max_ranges,
        )

    def _make_prefetcher(self) -> Prefetcher:
        settings, prefetch = self.settings, self.settings.fetch.prefetch
        return Prefetcher(
            self.fetcher,
            self.tiers,
            self.catalog,
            self.grids,
            self.habits,
            self.origins.strain,
            self.clock,
            self.metrics,
            max_window_bytes=prefetch.max_window,
            # More of the tier would push out what it was fetched for, or itself.
            memory_bytes=min(prefetch.memory, settings.cache.memory.size // 4),
        )

    def _make_port(self) -> DataPort:
        server, allowed = self.settings.server, PatternSet(self.settings.access.allow)
        names = [address.host for address in (server.listen, server.admin_listen) if isinstance(address, TcpAddress)]
        self.guard = HostGuard([*names, *server.hosts])
        disk_files = 0 if self.disk is None else descriptor_limit()
        router = Router(self.origins.namespaces, lambda ref: str(ref) in allowed, allowed.reaches)
        return DataPort(
            reader=self.reader,
            router=router,
            directories=Directories(router, self.listings, self.origins.bucket_names(), self.origins.lists),
            accepts_host=self.guard.accepts,
            printer=HeadPrinter(self.clock, self.origins.passes_all_headers),
            accounts=Accounts(self.metrics, self.settings.telemetry.access_log),
            budget=SendBudget(server.send_buffer),
            heads=heads_allowance(),
            clock=self.clock,
            limits=Limits(
                max_connections=connection_limit(server.max_connections, FILES_RESERVED + disk_files),
                header_timeout_s=server.header_timeout,
                keepalive_timeout_s=server.keepalive_timeout,
                send_timeout_s=server.send_timeout,
                request_timeout_s=server.request_timeout,
                shutdown_grace_s=server.shutdown_grace,
            ),
        )

    def _routes(self) -> Iterable[RouteDef]:
        """What the admin port offers besides itself."""

        def seat(reader: RangeReader | NotingReader) -> None:
            self.port.reader = reader

        recorder = Recorder(self.reader, self.clock, seat)
        rooms = JobRooms(self.jobs, self.filler, recorder, self.port.router, self.origins.stores, self.clock)
        inventory = Inventory(self.catalog, self.tiers, self.memory, self.records)
        return [
            *job_routes(rooms),
            *purge_routes(self._make_purger()),
            *object_routes(inventory, self.clock),
            *provider_routes(self._provider_rooms()),
        ]

    def _provider_rooms(self) -> ProviderRooms:
        checkups = Checkups(self.settings, self.origins, self.clock)
        origins, find_object = self.origins, self.port.router.find_name
        return ProviderRooms(origins.reports, checkups, origins.stores, origins.bucket_names(), find_object)

    def _make_purger(self) -> Purger:
        return Purger(
            self.catalog,
            self.opener,
            self.fetcher,
            self.tiers,
            self.memory,
            self.background,
            self.clock,
            records=self.records,
            disk=self.disk,
            forgetful=[self.reader, self.listings],
        )

    def _favourites(self) -> Iterator[tuple[BlockKey, memoryview]]:
        """What memory would like to be on disk too; nothing of what a purge is just taking from both."""
        return (each for each in self.memory.favourites() if not self.tiers.is_forgetting(each[0].ref))

    async def start(self) -> None:
        """Open everything, the data port last. Raises `OSError` where an address cannot be had."""
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        build = (__version__, platform.python_version(), "llhttp", loop)
        self.metrics.build_info.watch(lambda: [(build, 1)])
        if self.disk is not None:
            await self.disk.start()
        server = self.settings.server
        await self.admin.start(server.admin_listen)
        if self.health is not None and server.health_listen is not None:
            await self.health.start(server.health_listen)
        if isinstance(server.listen, TcpAddress):
            bound = await self.listener.start(server.listen.host, server.listen.port)
            self.addresses = [TcpAddress(*each) for each in bound]
        else:
            try:
                await self.listener.start_unix(server.listen.path)
            except OSError as error:  # uvloop's does not say which file
                raise OSError(error.errno, error.strerror or str(error), server.listen.path) from error
            self.addresses = [server.listen]
        self.state.ready = True

    async def stop(self) -> None:
        """Not ready first, then drain, then close what is behind, whatever one of them raises."""
        self.state.drain()
        async with AsyncExitStack() as last_in_first_out:
            if self.health is not None:
                last_in_first_out.push_async_callback(self.health.aclose)
            last_in_first_out.push_async_callback(self.admin.aclose)
            last_in_first_out.push_async_callback(self.origins.aclose)
            last_in_first_out.push_async_callback(self.tiers.aclose)
            if self.records is not None:  # before the tier that gives the directory to whoever wants it next
                last_in_first_out.push_async_callback(self.records.aclose)
            last_in_first_out.push_async_callback(self.background.aclose)
            last_in_first_out.push_async_callback(self.listener.drain)
            last_in_first_out.push_async_callback(self.jobs.aclose)


def _disk_tier(
    settings: Settings,
    favourites: Callable[[], Iterable[tuple[BlockKey, memoryview]]],
    wanted: Callable[[BlockKey, int], bool],
    clock: Clock,
) -> DiskTier | None:
    place = disk_wanted(settings)
    return None if place is None else DiskTier(*place, clock, favourites=favourites, wanted=wanted)


def _catalog_store(disk: DiskTier, clock: Clock) -> DiskCatalogStore:
    return DiskCatalogStore(disk.directory, lambda: disk.owned, clock)
