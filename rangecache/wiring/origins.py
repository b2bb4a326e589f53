"""From the configured providers to object stores: retried, counted, on one HTTP session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.origin.breaking import Breaking
from rangecache.origin.limit import Limited
from rangecache.origin.observe import Observed, count_detours, count_listed
from rangecache.origin.providers.file import FileStore
from rangecache.origin.providers.s3_address import bucket_fault
from rangecache.origin.retry import Retrying
from rangecache.origin.session import CONNECTIONS_PER_HOST_MAX, WebSession
from rangecache.origin.strain import Strain
from rangecache.origin.web import MinRate, WebStore
from rangecache.server.api.providers import ProviderReport
from rangecache.server.request import Namespace
from rangecache.settings import FileProvider, HttpProvider, S3Provider
from rangecache.wiring.http import http_dialect
from rangecache.wiring.s3 import s3_dialect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.model import ObjectRef
    from rangecache.origin.base import ObjectStore
    from rangecache.origin.dialect import Dialect
    from rangecache.origin.providers.s3 import S3Dialect
    from rangecache.ranges import RangeSpec
    from rangecache.settings import Provider, Settings
    from rangecache.telemetry import Metrics

PERMITS: Final = (
    CONNECTIONS_PER_HOST_MAX  # open answers of one provider; one block of each is on its way to be complete
)
PASSING_PERMITS: Final = PERMITS // 2
KEY_BYTES_MAX: Final = 4096  # of web servers and folders, which name no limit; the target's own bound is the same


class Origins:
    """The stores of all providers by name, and what they share."""

    def __init__(self, settings: Settings, metrics: Metrics, budget: RetryBudget, clock: Clock) -> None:
        """To be called inside a running event loop: a session belongs to one."""
        self._settings = settings
        self._metrics = metrics
        self._budget = budget
        self._clock = clock
        self._session: WebSession | None = None
        self._s3: list[S3Dialect] = []
        self.strain = Strain(clock)
        self.breaking: dict[str, Breaking] = {}
        self.stores: dict[str, Limited] = {}
        self.namespaces: dict[str, Namespace] = {}
        for name, provider in settings.providers.items():
            self.stores[name] = self._store(name, provider)
            self.namespaces[name] = namespace(provider)

    def for_one_client(self) -> dict[str, ObjectStore]:
        """The same stores for answers that go to one client at his own pace. They get a part of the permits only, so
        that slow clients leave some for what is fetched for everybody."""
        return {name: Limited(store, PASSING_PERMITS) for name, store in self.stores.items()}

    def promote(self, ref: ObjectRef, wanted: RangeSpec | None) -> None:
        """A reader has come to wait for this GET, which was sent for nobody."""
        self.stores[ref.provider].promote(ref, wanted)

    @property
    def buffered_bytes(self) -> int:
        """What has arrived from origins and has not been read."""
        return 0 if self._session is None else self._session.buffered_bytes

    def reports(self) -> Iterator[ProviderReport]:
        """How each provider does."""
        for name, breaking in self.breaking.items():
            yield ProviderReport(name, self._settings.providers[name].kind, list(breaking.health()))

    def open_breakers(self) -> Iterator[tuple[tuple[str], float]]:
        """For each provider, how many of its endpoints are not asked now."""
        for name, breaking in self.breaking.items():
            yield (name,), sum(each.breaker != "closed" for each in breaking.health())

    def source(self, ref: ObjectRef) -> str:
        """Where the object really is, as things are configured now."""
        return self.stores[ref.provider].source(ref)

    def passes_all_headers(self, ref: ObjectRef) -> bool:
        """Whether every end-to-end header of the origin is shown to clients (`response_headers: all`)."""
        provider = self._settings.providers[ref.provider]
        bucket = None if isinstance(provider, FileProvider) else provider.buckets.get(ref.bucket)
        return bucket is not None and bucket.response_headers == "all"

    def lists(self, ref: ObjectRef) -> bool:
        """Whether its bucket may be listed (`listing: off` forbids it)."""
        provider = self._settings.providers[ref.provider]
        bucket = None if isinstance(provider, FileProvider) else provider.buckets.get(ref.bucket)
        return bucket is None or bucket.listing == "auto"

    def _store(self, name: str, provider: Provider) -> Limited:
        match provider:
            case FileProvider():
                store: ObjectStore = FileStore(provider.buckets, clock=self._clock)
            case HttpProvider():
                store = self._web(name, http_dialect(provider))
            case S3Provider():
                dialect = s3_dialect(provider, self._clock, self._settings.egress)
                self._s3.append(dialect)
                store = self._web(name, dialect)
        observed = Observed(store, self._metrics, self._clock, name, self.strain.note)
        breaking = self.breaking[name] = Breaking(observed, clock=self._clock)
        retrying = Retrying(
            breaking,
            budget=self._budget,
            clock=self._clock,
            attempts=self._settings.fetch.attempts,
        )
        return Limited(retrying, PERMITS)

    def _web(self, name: str, dialect: Dialect) -> WebStore:
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
            on_listed=count_listed(self._metrics, name),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for store in self.stores.values():
            await store.aclose()
        for dialect in self._s3:
            await dialect.aclose()
        if self._session is not None:
            await self._session.aclose()


def namespace(provider: Provider) -> Namespace:
    """Which bucket names a client may ask for: any valid one of S3, the configured ones elsewhere."""
    if isinstance(provider, S3Provider):
        aliases = frozenset(provider.buckets)
        return Namespace(lambda bucket: bucket in aliases or not bucket_fault(bucket), "versionId")
    return Namespace(frozenset(provider.buckets).__contains__, key_bytes_max=KEY_BYTES_MAX)
