"""What each configured provider speaks and which buckets it has: all that can be wrong with it before anything is
opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rangecache.errors import ConfigurationError
from rangecache.origin.providers import azure_address, gcs_address, s3_address
from rangecache.server.request import Namespace
from rangecache.settings import AzureProvider, FailoverProvider, FileProvider, GcsProvider, HttpProvider, S3Provider
from rangecache.wiring.azure import azure_dialect, azure_endpoint
from rangecache.wiring.failover import failover_namespace, failover_places
from rangecache.wiring.gcs import gcs_dialect
from rangecache.wiring.http import http_dialect
from rangecache.wiring.s3 import s3_dialect

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.providers.azure import AzureDialect
    from rangecache.origin.providers.gcs import GcsDialect
    from rangecache.origin.providers.http import HttpDialect
    from rangecache.origin.providers.s3 import S3Dialect
    from rangecache.settings import Settings
    from rangecache.wiring.failover import Places

    WebDialect = S3Dialect | GcsDialect | AzureDialect | HttpDialect
    OriginSettings = AzureProvider | FileProvider | GcsProvider | HttpProvider | S3Provider

KEY_BYTES_MAX: Final = 4096  # of web servers and folders, which name no limit; the target's own bound is the same


class Plan(NamedTuple):
    """By the names of providers. Each dialect has its credentials, which nobody has asked for yet."""

    dialects: dict[str, WebDialect]
    namespaces: dict[str, Namespace]
    places: dict[str, Places]
    """Of failover sets alone."""


def plan(settings: Settings, clock: Clock) -> Plan:
    """Raises `ConfigurationError` with every fault."""
    planned, faults = Plan({}, {}, {}), list[str]()
    for name, provider in settings.providers.items():
        if isinstance(provider, FailoverProvider):
            continue
        try:
            dialect = _dialect(provider, settings, clock)
            planned.namespaces[name] = _namespace(provider)
        except ConfigurationError as error:
            faults.append(f"providers.{name}: {error.message.removeprefix('providers: ')}")
            continue
        if dialect is not None:
            planned.dialects[name] = dialect
    for name, provider in settings.providers.items():
        if isinstance(provider, FailoverProvider) and planned.namespaces.keys() >= {
            each.provider for each in provider.replicas
        }:
            try:
                places = planned.places[name] = failover_places(name, provider, planned.namespaces)
            except ConfigurationError as error:
                faults.append(error.message)
                continue
            planned.namespaces[name] = failover_namespace(places, planned.namespaces, provider)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return planned


def _dialect(provider: OriginSettings, settings: Settings, clock: Clock) -> WebDialect | None:
    match provider:
        case FileProvider():
            return None
        case HttpProvider():
            return http_dialect(provider, clock)
        case S3Provider():
            return s3_dialect(provider, clock, settings.egress)
        case AzureProvider():
            return azure_dialect(provider, clock, settings.egress)
        case GcsProvider():
            return gcs_dialect(provider, clock, settings.egress)


def _namespace(provider: OriginSettings) -> Namespace:
    """Which bucket names a client may ask for: any valid one of the clouds, the configured ones elsewhere."""
    if isinstance(provider, S3Provider):
        aliases = frozenset(provider.buckets)
        return Namespace(lambda bucket: bucket in aliases or not s3_address.bucket_fault(bucket), "versionId")
    if isinstance(provider, AzureProvider):
        aliases, endpoint = frozenset(provider.buckets), azure_endpoint(provider)
        return Namespace(
            lambda bucket: bucket in aliases or not endpoint.bucket_fault(bucket),
            key_bytes_max=azure_address.KEY_BYTES_MAX,
            named_versions=azure_address.VERSION_PARAMETERS,
        )
    if isinstance(provider, GcsProvider):
        aliases = frozenset(provider.buckets)
        return Namespace(lambda bucket: bucket in aliases or not gcs_address.bucket_fault(bucket), "generation")
    return Namespace(frozenset(provider.buckets).__contains__, key_bytes_max=KEY_BYTES_MAX)
