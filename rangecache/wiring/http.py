"""From the settings of `kind: http` to its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rangecache.origin.providers.http import HttpDialect

if TYPE_CHECKING:
    from rangecache.settings import HttpProvider


def http_dialect(provider: HttpProvider) -> HttpDialect:
    """A dialect that knows the configured addresses and no others."""
    dialect = HttpDialect()
    for alias, bucket in provider.buckets.items():
        dialect.add_bucket(alias, bucket.url, bucket.redirect_hosts, missing_403_is_404=bucket.missing_403_is_404)
    return dialect
