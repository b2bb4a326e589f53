"""From the settings to what a check-up looks into."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from yarl import URL

from rangecache.aio.budget import RetryBudget
from rangecache.aio.clock import SystemClock
from rangecache.checkup.machine import MachineCheck
from rangecache.checkup.network import Host, Network
from rangecache.checkup.provider import ProviderCheck, Subject
from rangecache.checkup.replicas import ReplicaCheck
from rangecache.errors import RangecacheError
from rangecache.model import ObjectRef
from rangecache.origin.breaking import Breaking
from rangecache.origin.dialect import Signing
from rangecache.origin.replica import Replica
from rangecache.origin.session import tls_context
from rangecache.settings import FailoverProvider
from rangecache.telemetry import Metrics
from rangecache.wiring.disk import disk_wanted
from rangecache.wiring.failover import failover_places
from rangecache.wiring.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rangecache.aio.clock import Clock
    from rangecache.checkup.step import Report, Step
    from rangecache.settings import Settings

_DATED: Final = frozenset({"s3", "azure"})


async def look_into(settings: Settings, names: Iterable[str], wanted: ObjectRef | None = None) -> list[Report]:
    """These providers, side by side, without a running program; `wanted` is an object of one of them to read from.
    Raises `ConfigurationError`."""
    clock, budget = SystemClock(), settings.budget
    ledger = RetryBudget(budget.ratio, budget.min_per_second, budget.burst, clock)
    origins = Origins(settings, Metrics(), ledger, clock)
    try:
        checkups = Checkups(settings, origins, clock)
        reports = (checkups.run(each, wanted if wanted and wanted.provider == each else None) for each in names)
        return list(await asyncio.gather(*reports))
    finally:
        await origins.aclose()


def look_around(settings: Settings, *, is_running: bool) -> list[Step]:
    """This machine; see `MachineCheck`. Blocks."""
    server = settings.server
    addresses = {"server.listen": server.listen, "server.admin_listen": server.admin_listen}
    if server.health_listen is not None:
        addresses["server.health_listen"] = server.health_listen
    check = MachineCheck(
        disk=disk_wanted(settings),
        memory_bytes=settings.cache.memory.size,
        addresses=addresses,
        is_running=is_running,
    )
    return check.run()


class Checkups:
    """Looks into the providers of a configuration, with the stores that the program reads with."""

    def __init__(self, settings: Settings, origins: Origins, clock: Clock) -> None:
        self._settings = settings
        self._origins = origins
        self._clock = clock

    async def run(self, name: str, wanted: ObjectRef | None = None) -> Report:
        """Look into one provider; `wanted` is an object of it to read from."""
        provider = self._settings.providers[name]
        if isinstance(provider, FailoverProvider):
            return await self._replicas(name, provider).run(wanted)
        dialect = self._origins.dialects.get(name)
        subject = Subject(
            name,
            provider.kind,
            self._origins.bare[name],
            list(provider.buckets),
            lambda bucket: self.hosts(name, bucket),
            dialect.credentials_for if isinstance(dialect, Signing) else None,
            provider.kind in _DATED,
        )
        return await ProviderCheck(subject, self._network(), self._clock).run(wanted)

    def _network(self) -> Network:
        ca_file = self._settings.egress.ca_file
        connect_timeout_s = self._settings.fetch.connect_timeout
        return Network(self._clock, connect_timeout_s=connect_timeout_s, tls=tls_context(ca_file), ca_file=ca_file)

    def hosts(self, name: str, bucket: str) -> Sequence[tuple[Host, str]]:
        """The host of the origin, or the proxy that stands before it."""
        if name not in self._origins.dialects:
            return ()
        proxy = self._settings.egress.proxy
        if proxy is not None:
            return ((_host(URL(proxy)), "(egress.proxy)"),)
        address = self._address(name, bucket)
        return () if address is None else ((_host(address), ""),)

    def _address(self, name: str, bucket: str) -> URL | None:
        dialect, ref = self._origins.dialects[name], ObjectRef(name, bucket, "")
        try:
            told = dialect.address_for(ref) if isinstance(dialect, Signing) else dialect.source(ref)
        except RangecacheError:  # no such bucket can be: its own steps will say so
            return None
        return URL(told, encoded=True)

    def _replicas(self, name: str, provider: FailoverProvider) -> ReplicaCheck:
        origins = self._origins
        replicas = [
            # A breaker of its own: one that is open keeps readers away, and not who looks why.
            Replica(each.provider, Breaking(origins.bare[each.provider], clock=self._clock), self._clock, place)
            for each, place in zip(provider.replicas, failover_places(name, provider, origins.namespaces), strict=True)
        ]
        buckets = sorted(origins.bucket_names()[name])
        return ReplicaCheck(name, replicas, provider.identity, buckets, self._clock)


def _host(url: URL) -> Host:
    return Host(url.scheme, url.host or "", url.port or 0)
