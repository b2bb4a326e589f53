"""From the settings of `kind: gcs` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.gcs import GcsBucket, GcsDialect
from rangecache.origin.providers.gcs_credentials import ApplicationDefault, GoogleToken, TokenCommand, fetched

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials
    from rangecache.settings import Egress, GcsCredentials, GcsProvider

_SERVICE_ACCOUNT: Final = frozenset({"service_account", "impersonated_service_account"})
_FEDERATION: Final = frozenset({"external_account"})


def gcs_dialect(provider: GcsProvider, clock: Clock, egress: Egress) -> GcsDialect:
    """A dialect with the provider's credentials, its endpoint and what is particular about its buckets."""
    return GcsDialect(
        credentials=gcs_credentials(provider.credentials, clock, egress),
        clock=clock,
        endpoint=provider.endpoint,
        project=provider.project,
        buckets={
            alias: GcsBucket(
                bucket.bucket or alias,
                anonymous=bool(bucket.anonymous),
                billed_project=provider.project if bucket.requester_pays else None,
                missing_403_is_404=bucket.missing_403_is_404,
                credentials=None if bucket.credentials is None else gcs_credentials(bucket.credentials, clock, egress),
            )
            for alias, bucket in provider.buckets.items()
        },
    )


def gcs_credentials(given: GcsCredentials, clock: Clock, egress: Egress) -> Credentials[str]:
    """The one way that the settings name; application default credentials where they name none."""
    proxy, ca_file = egress.proxy, egress.ca_file
    if given.anonymous:
        return Anonymous()
    if given.command is not None:
        return fetched(TokenCommand(given.command), clock=clock)
    if given.metadata:
        return fetched(GoogleToken(None, clock=clock), clock=clock)
    for file, kinds in ((given.service_account_file, _SERVICE_ACCOUNT), (given.workload_identity, _FEDERATION)):
        if file is not None:
            source = GoogleToken(file, clock=clock, proxy=proxy, ca_file=ca_file, expected=kinds)
            return fetched(source, clock=clock)
    return fetched(ApplicationDefault(clock=clock, proxy=proxy, ca_file=ca_file), clock=clock, may_go_unsigned=True)
