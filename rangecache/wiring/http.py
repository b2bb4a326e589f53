"""From the settings of `kind: http` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.origin.credentials import Anonymous
from rangecache.origin.providers.http import HttpDialect
from rangecache.origin.providers.http_credentials import BasicFile, BearerFile, FieldsCommand, HeadersFile, fetched

if TYPE_CHECKING:
    from rangecache.aio.clock import Clock
    from rangecache.origin.credentials import Credentials
    from rangecache.origin.providers.http_credentials import HttpFields, Source
    from rangecache.settings import HttpCredentials, HttpProvider


def http_dialect(provider: HttpProvider, clock: Clock) -> HttpDialect:
    """A dialect that knows the configured addresses and no others."""
    dialect = HttpDialect()
    for_all = http_credentials(provider.credentials, clock)
    for alias, bucket in provider.buckets.items():
        own = for_all if bucket.credentials is None else http_credentials(bucket.credentials, clock)
        dialect.add_bucket(
            alias,
            bucket.url,
            bucket.redirect_hosts,
            missing_403_is_404=bucket.missing_403_is_404,
            credentials=Anonymous() if bucket.anonymous else own,
        )
    return dialect


def http_credentials(given: HttpCredentials, clock: Clock) -> Credentials[HttpFields]:
    """The one way to prove who asks that the settings name, if they name one."""
    source: Source
    if given.bearer_file is not None:
        source = BearerFile(given.bearer_file)
    elif given.basic_file is not None:
        source = BasicFile(given.basic_file)
    elif given.headers_file is not None:
        source = HeadersFile(given.headers_file)
    elif given.command is not None:
        source = FieldsCommand(given.command)
    else:
        return Anonymous()
    return fetched(source, clock=clock)
