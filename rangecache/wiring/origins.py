"""From the configured providers to object stores: retried, counted, on one HTTP session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from rangecache.origin.breaking import Breaking
from rangecache.origin.fetched import Fetched
from rangecache.origin.hedged import Hedged
from rangecache.origin.limit import Limited, Yielding
from rangecache.origin.observe import Observed, count_detours, count_fetches, count_listed
from rangecache.origin.providers.file import FileStore
from rangecache.origin.retry import Retrying
from rangecache.origin.session import CONNECTIONS_PER_HOST_MAX, WebSession
from rangecache.origin.size_first import SizeFirst
from rangecache.origin.strain import Strain
from rangecache.origin.throttled import Throttled
from rangecache.origin.web import MinRate, WebStore
from rangecache.server.api.providers import ProviderReport
from rangecache.settings import AzureProvider, FailoverProvider, FileProvider
from rangecache.wiring.failover import failover_store
from rangecache.wiring.plan import plan
from rangecache.wiring.throttles import Throttles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectMeta, ObjectRef
    from rangecache.origin.base import ObjectStore, Purpose
    from rangecache.origin.failover import Failover
    from rangecache.ranges import RangeSpec
    from rangecache.settings import AzureBucket, GcsBucket, HttpBucket, S3Bucket, Settings
    from rangecache.telemetry import Metrics
    from rangecache.wiring.plan import OriginSettings, WebDialect

PERMITS: Final = (
    CONNECTIONS_PER_HOST_MAX  # open answers of one provider; one block of each is on its way to be complete
)
PASSING_PERMITS: Final = PERMITS // 2


class Origins:
    """The stores of all providers by name, and what they share."""

    def __init__(self, settings: Settings, metrics: Metrics, budget: RetryBudget, clock: Clock) -> None:
        """To be called inside a running event loop: a session belongs to one. Raises `ConfigurationError`."""
        self._plan = plan(settings, clock)
        self._settings = settings
        self._metrics = metrics
        self._budget = budget
        self._clock = clock
        self._session: WebSession | None = None
        self.strain = Strain(clock, PERMITS, self._names)
        self._throttles = Throttles(settings.throttle)
        self.breaking: dict[str, Breaking] = {}
        self.bare: dict[str, ObjectStore] = {}
        """Those of origins without repeats and breakers, for whoever looks for what is wrong with one."""
        self.dialects: dict[str, WebDialect] = self._plan.dialects
        self._failovers: dict[str, Failover] = {}
        self._throttled: dict[str, Throttled] = {}
        self._yielding: dict[str, Yielding] = {}
        self.stores: dict[str, Limited] = {}
        self.namespaces = self._plan.namespaces
        sets: dict[str, FailoverProvider] = {}
        for name, provider in settings.providers.items():
            if isinstance(provider, FailoverProvider):
                sets[name] = provider
                continue
            self.breaking[name] = self._asked_once(name, provider)
            self.stores[name] = self._repeated(self.breaking[name])
        for name, failover in sets.items():
            self._failovers[name] = self._failover(name, failover)
            self.stores[name] = self._repeated(self._failovers[name])

    def for_one_client(self) -> dict[str, ObjectStore]:
        """The same stores for answers that go to one client at his own pace. They get a part of the permits only, so
        that slow clients leave some for what is fetched for everybody."""
        return {name: Limited(store, PASSING_PERMITS) for name, store in self.stores.items()}

    def promote(self, ref: ObjectRef, wanted: RangeSpec | None) -> None:
        """A reader has come to wait for this GET, which was sent for nobody."""
        self.stores[ref.provider].promote(ref, wanted)
        for name in self._names(ref):
            if (yielding := self._yielding.get(name.provider)) is not None:
                yielding.promote(name, wanted)
            if (throttled := self._throttled.get(name.provider)) is not None:
                throttled.promote(name, wanted)

    @property
    def buffered_bytes(self) -> int:
        """What has arrived from origins and has not been read."""
        return 0 if self._session is None else self._session.buffered_bytes

    def reports(self) -> Iterator[ProviderReport]:
        """How each provider does."""
        for name, breaking in self.breaking.items():
            yield ProviderReport(name, self._settings.providers[name].kind, list(breaking.health()))
        for name, failover in self._failovers.items():
            yield ProviderReport(name, self._settings.providers[name].kind, list(failover.health()))

    def open_breakers(self) -> Iterator[tuple[tuple[str], float]]:
        """For each provider, how many of its endpoints are not asked now; of a set, how many replicas that answer."""
        for name, breaking in self.breaking.items():
            yield (name,), sum(each.breaker != "closed" for each in breaking.health())
        for name, failover in self._failovers.items():
            yield (name,), sum(1 for _ in failover.faults())

    def vouches_for(self, meta: ObjectMeta) -> bool:
        """Whether the version is of an origin that its name means, as things are configured now."""
        failover = self._failovers.get(meta.ref.provider)
        if failover is not None:
            return failover.vouches_for(meta)
        return self.stores[meta.ref.provider].source(meta.ref) == meta.source

    def passes_all_headers(self, meta: ObjectMeta) -> bool:
        """Whether every end-to-end header of the origin is shown to clients: `response_headers: all` of the bucket that
        this version is from."""
        failover = self._failovers.get(meta.ref.provider)
        name = meta.ref if failover is None else failover.name_at_home(meta)
        bucket = None if name is None else self._bucket(name)
        return bucket is not None and bucket.response_headers == "all"

    def lists(self, ref: ObjectRef) -> bool:
        """Whether its bucket may be listed (`listing: off` forbids it, of a replica too)."""
        buckets = [self._bucket(name) for name in self._names(ref)]
        return all(bucket is None or bucket.listing == "auto" for bucket in buckets)

    def bucket_names(self) -> dict[str, set[str]]:
        """The buckets that the configuration names, by provider."""
        providers = self._settings.providers
        names = {name: set(each.buckets) for name, each in providers.items() if not isinstance(each, FailoverProvider)}
        for name, each in providers.items():
            if isinstance(each, FailoverProvider):
                names[name] = set().union(*(replica.buckets for replica in each.replicas))
                names[name] |= names[each.replicas[0].provider]
        return names

    def _names(self, ref: ObjectRef) -> Iterator[ObjectRef]:
        """What it is called, by its own provider and by each replica of that."""
        yield ref
        if (failover := self._failovers.get(ref.provider)) is not None:
            yield from failover.names(ref)

    def _bucket(self, ref: ObjectRef) -> S3Bucket | GcsBucket | AzureBucket | HttpBucket | None:
        """What is particular about the object's bucket, where something can be."""
        provider = self._settings.providers[ref.provider]
        return None if isinstance(provider, FileProvider | FailoverProvider) else provider.buckets.get(ref.bucket)

    def _asked_once(self, name: str, provider: OriginSettings) -> Breaking:
        if isinstance(provider, FileProvider):
            return self._wrapped(name, provider, FileStore(provider.buckets, clock=self._clock))
        return self._wrapped(name, provider, self._web(name, self.dialects[name]))

    # What stands between a reader and a provider, from the inside out; docs/budget.md says why in this order.

    def _wrapped(self, name: str, provider: OriginSettings, store: ObjectStore) -> Breaking:
        """What belongs to the one provider, or replica."""

        # What is counted is what is on the wire, each repeat by itself.
        def begun(ref: ObjectRef, latency_s: float) -> None:
            self.breaking[name].begun(ref, latency_s)

        store = Observed(store, self._metrics, self._clock, name, self.strain.heard, begun)
        # A repeat waits for its rate as the first attempt does; no timeout of the origin runs meanwhile.
        own = None if isinstance(provider, FileProvider) else provider.throttle
        throttled: Throttled | None = None
        if rates := self._throttles.of(own):
            throttled = Throttled(
                store,
                rates,
                clock=self._clock,
                waited=self._metrics.throttle_wait.cell(),
                is_wanted=self.strain.is_wanted,
            )
            store = self._throttled[name] = throttled
        if isinstance(provider, AzureProvider):
            store = SizeFirst(store)
        self.bare[name] = store
        # Each attempt has a place in its bucket's window; who pauses before the next one has none.
        wanted = (lambda _: None) if throttled is None else throttled.promote_bucket
        store = self._yielding[name] = Yielding(store, self.strain, on_wanted=wanted)
        # What is not asked waits for no rate. Each attempt is heard of by itself: three failures are three.
        return Breaking(store, clock=self._clock)

    def _repeated(self, store: ObjectStore) -> Limited:
        """What belongs to what a reader asks for."""
        # A hedge is not asked of an endpoint that is down, and a repeat may be hedged as little as the ledger allows.
        if self._settings.fetch.hedge:
            store = Hedged(store, budget=self._budget, clock=self._clock)
        store = Retrying(
            store,
            budget=self._budget,
            clock=self._clock,
            attempts=self._settings.fetch.attempts,
            deadline_s=self._settings.server.request_timeout,
        )
        # Who repeats keeps his place.
        return Limited(store, PERMITS)

    def _failover(self, name: str, provider: FailoverProvider) -> Failover:
        counted = self._metrics.failovers

        def count(to: str) -> None:
            counted.cell(name, to).value += 1

        return failover_store(
            provider,
            self._plan.places[name],
            self.breaking,
            budget=self._budget,
            clock=self._clock,
            on_failover=count,
        )

    def _web(self, name: str, dialect: WebDialect) -> WebStore:
        for each in dialect.all_credentials():
            if isinstance(each, Fetched):
                each.watch(count_fetches(self._metrics, name))
        fetch, egress = self._settings.fetch, self._settings.egress
        if self._session is None:
            self._session = WebSession(
                connect_timeout_s=fetch.connect_timeout, proxy=egress.proxy, ca_file=egress.ca_file
            )
        return WebStore(
            self._session,
            dialect,
            clock=self._clock,
            first_byte_timeout_s=lambda ref: self._settings.first_byte_timeout(name, ref.bucket),
            min_rate=MinRate(fetch.min_rate.bytes, fetch.min_rate.over),
            on_detour=count_detours(self._metrics, name),
            on_listed=count_listed(self._metrics, name, partial(self._pay_listed, name)),
            may_repeat=self._budget.try_withdraw,
        )

    async def _pay_listed(self, name: str, purpose: Purpose, received_bytes: int) -> None:
        throttled = self._throttled.get(name)
        if throttled is not None:
            await throttled.pay_bytes(purpose, received_bytes)

    async def aclose(self) -> None:
        """Close every connection."""
        for store in self.stores.values():
            await store.aclose()
        for dialect in self.dialects.values():
            await dialect.aclose()
        if self._session is not None:
            await self._session.aclose()
