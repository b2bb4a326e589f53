"""From the settings of `kind: failover` to its store, over the stores of other providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.errors import ConfigurationError
from rangecache.origin.failover import Failover
from rangecache.origin.replica import Place, Replica
from rangecache.server.request import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rangecache.aio.budget import RetryBudget
    from rangecache.aio.clock import Clock
    from rangecache.origin.breaking import Breaking
    from rangecache.settings import FailoverProvider
    from rangecache.settings import Replica as ReplicaSettings

    Places = list[Callable[[str], Place | None]]


def failover_places(name: str, provider: FailoverProvider, namespaces: Mapping[str, Namespace]) -> Places:
    """For each replica, where a bucket of the set lies there. Raises `ConfigurationError`."""
    for replica in provider.replicas:
        for bucket, place in replica.buckets.items():
            if not namespaces[replica.provider].accepts_bucket(_place(place).bucket):
                raise ConfigurationError(
                    f"providers.{name}.replicas: {replica.provider} has no bucket {_place(place).bucket},"
                    f" which {bucket} is said to be there"
                )
    return [_places(replica, namespaces[replica.provider]) for replica in provider.replicas]


def failover_store(
    provider: FailoverProvider,
    places: Places,
    stores: Mapping[str, Breaking],
    *,
    budget: RetryBudget,
    clock: Clock,
    on_failover: Callable[[str], None],
) -> Failover:
    """The set over `stores` of its replicas, which must not repeat anything themselves."""
    replicas = [
        Replica(each.provider, stores[each.provider], clock, place)
        for each, place in zip(provider.replicas, places, strict=True)
    ]
    return Failover(replicas, identity=provider.identity, budget=budget, clock=clock, on_failover=on_failover)


def failover_namespace(places: Places, namespaces: Mapping[str, Namespace], provider: FailoverProvider) -> Namespace:
    """A bucket that any replica has. Versions have no names that all replicas understand."""
    longest = max(namespaces[each.provider].key_bytes_max for each in provider.replicas)
    return Namespace(lambda bucket: any(place(bucket) is not None for place in places), key_bytes_max=longest)


def _places(replica: ReplicaSettings, namespace: Namespace) -> Callable[[str], Place | None]:
    configured = {bucket: _place(text) for bucket, text in replica.buckets.items()}

    def place(bucket: str) -> Place | None:
        return configured.get(bucket) or (Place(bucket) if namespace.accepts_bucket(bucket) else None)

    return place


def _place(text: str) -> Place:
    bucket, _, prefix = text.partition("/")
    return Place(bucket, prefix)
